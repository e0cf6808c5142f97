"""Look-ups in the matrix, statistics, health."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
import pytest

from app.main import Gateway
from tests.service.conftest import bearer
from tests.service.orders import EXPIRED, PRIVILEGED, order

pytestmark = pytest.mark.anyio

ZONE = ZoneInfo("Asia/Shanghai")
ALL = ("his", "anesthesia", "medical_affairs", "ops", "auditor", "admin")


class Asking:
    """A client with keys."""

    def __init__(self, client: httpx.AsyncClient, keys: dict[str, str]) -> None:
        self._client = client
        self._keys = keys

    async def __call__(self, path: str, role: str = "his", status: int = 200, **params: Any) -> Any:
        answered = await self._client.get(path, params=params or None, headers=bearer(self._keys[role]))
        assert answered.status_code == status, answered.text
        return answered.json()

    async def check(self, asked: dict[str, Any]) -> dict[str, Any]:
        answered = await self._client.post("/v1/check", json=asked, headers=bearer(self._keys["his"]))
        assert answered.status_code == 200, answered.text
        found: dict[str, Any] = answered.json()
        return found


@pytest.fixture
def get(client: httpx.AsyncClient, keys: dict[str, str]) -> Asking:
    return Asking(client, keys)


async def test_privileges_with_a_code_say_whether_and_why_not(get: Asking) -> None:
    for role in ALL:
        may = await get(f"/v1/staff/{PRIVILEGED}/privileges", role, code="３５.71 001", department="心外")
        assert (may["staff"], may["code"], may["allowed"], may["findings"], may["level"]) == (PRIVILEGED, "35.71001", True, [], 3)
    may_not = await get(f"/v1/staff/{EXPIRED}/privileges", code="35.71001", department="胸心外科")
    assert not may_not["allowed"]
    assert [f["code"] for f in may_not["findings"]] == ["grant_expired"]
    until = may_not["findings"][0]["facts"]["valid_to"]
    earlier = await get(f"/v1/staff/{EXPIRED}/privileges", code="35.71001", department="胸心外科", on=until)
    # A day that is past does not bring a grant back that has ended since.
    assert not earlier["allowed"]
    anywhere = await get(f"/v1/staff/{PRIVILEGED}/privileges", code="35.71001")
    assert (anywhere["allowed"], len(anywhere["candidates"])) == (False, 2)


async def test_privileges_say_what_a_check_says(get: Asking) -> None:
    for staff in (PRIVILEGED, EXPIRED, "100002", "100377", "200018"):
        asked = order(staff, planned_start=None)
        asked["procedures"][0] |= {"service": None, "name": None}
        decided = (await get.check(asked))["procedures"][0]
        found = await get(f"/v1/staff/{staff}/privileges", code="35.71001", department="胸心外科")
        assert found["findings"] == decided["findings"], staff
        assert found["allowed"] == (decided["decision"] == "allow")


async def test_privileges_without_a_code_list_what_the_person_may_do(get: Asking) -> None:
    found = await get(f"/v1/staff/{PRIVILEGED}/privileges")
    assert (found["code"], found["allowed"], found["findings"]) == (None, True, [])
    mine = [p for p in found["privileges"] if p["code"] == "35.71001"]
    assert [(p["level"], p["item"], p["departments"]) for p in mine] == [(3, "WKJDXX3.2", ["胸心外科"])]
    for held in found["privileges"][:30]:
        for department in held["departments"][:1]:
            asked = {"code": held["code"], "department": department}
            one = await get(f"/v1/staff/{PRIVILEGED}/privileges", **asked)
            standing = {c["item"]: c["standing"] for c in one["candidates"]}
            assert standing[held["item"]] == "granted", held
    anesthesiologist = await get("/v1/staff/200018/privileges")
    assert [g["scope_type"] for g in anesthesiologist["grades"]] == ["asa"]


async def test_operators_are_those_whom_a_check_names(get: Asking) -> None:
    denied = await get.check(order(EXPIRED, planned_start=None))
    named = denied["procedures"][0]["operators"]
    found = await get("/v1/procedures/35.71001/operators", department="胸心外科", limit=10)
    assert found["items"] == named
    assert (found["level"], found["department"], found["findings"], len(found["entries"])) == (3, "胸心外科", [], 1)
    pages, cursor = list(found["items"]), found["next_cursor"]
    while cursor is not None:
        page = await get("/v1/procedures/35.71001/operators", department="胸心外科", limit=10, cursor=cursor)
        pages, cursor = pages + page["items"], page["next_cursor"]
    whole = await get("/v1/procedures/35.71001/operators", department="胸心外科", limit=500)
    assert pages == whole["items"]
    assert EXPIRED not in {p["staff"] for p in pages}


async def test_operators_without_a_department_hold_every_entry(get: Asking) -> None:
    found = await get("/v1/procedures/35.71001/operators", limit=500)
    by_department = [
        {p["staff"] for p in (await get("/v1/procedures/35.71001/operators", department=d, limit=500))["items"]}
        for d in ("胸心外科", "小儿外科")
    ]
    assert len(found["entries"]) == 2
    assert {p["staff"] for p in found["items"]} <= by_department[0] & by_department[1]
    combination = "37.34001+37.26001"
    path = f"/v1/procedures/{quote(combination, safe='')}/operators"
    assert (await get(path))["code"] == "37.26001+37.34001"


async def test_what_cannot_be_looked_up_is_named(get: Asking, client: httpx.AsyncClient) -> None:
    await get("/v1/staff/999999/privileges", status=404)
    await get("/v1/procedures/99.99001/operators", status=404)
    for path, field in (
        (f"/v1/staff/{PRIVILEGED}/privileges?code=35.71001%2B", "code"),
        (f"/v1/staff/{PRIVILEGED}/privileges?departmnt=x", "departmnt"),
        (f"/v1/staff/{PRIVILEGED}/privileges?on=tomorrow", "on"),
        ("/v1/procedures/abc/operators", "code"),
        ("/v1/procedures/35.71001/operators?cursor=x", "cursor"),
        ("/v1/procedures/35.71001/operators?on=1700000000", "on"),
    ):
        assert [e["field"] for e in (await get(path, status=422))["errors"]] == [field], path
    assert (await client.get(f"/v1/staff/{PRIVILEGED}/privileges")).status_code == 401
    first = await get(f"/v1/staff/{PRIVILEGED}/privileges", on="0001-01-01")
    assert first["privileges"] == []
    await get(f"/v1/staff/{PRIVILEGED}/privileges", on="9999-12-31")


async def test_statistics_count_by_day_department_surgeon_and_reason(get: Asking) -> None:
    today = datetime.now(ZONE).date()
    await get.check(order(department="心外科"))
    await get.check(order(EXPIRED))
    await get.check(order(EXPIRED))
    await get.check(order(department="小儿外科", urgency="emergency", evidence={}, checkpoint="notice"))
    for role in ("ops", "medical_affairs", "admin"):
        found = await get("/v1/stats", role)
    assert found["total"] == {"allow": 1, "deny": 3, "override": 0}
    assert found["days"] == [{"allow": 1, "deny": 3, "override": 0, "day": today.isoformat()}]
    assert {d["department"]: d["deny"] for d in found["departments"]} == {"胸心外科": 2, "小儿外科": 1}
    surgeons = {s["staff"]: s for s in found["surgeons"]}
    assert (surgeons[EXPIRED]["deny"], surgeons[EXPIRED]["emergency_to_confirm"], surgeons[EXPIRED]["name"]) == (2, 0, "钱垂柳")
    assert (surgeons[PRIVILEGED]["allow"], surgeons[PRIVILEGED]["deny"], surgeons[PRIVILEGED]["emergency_to_confirm"]) == (1, 1, 1)
    reasons = {r["code"]: r["deny"] for r in found["reasons"]}
    assert reasons["grant_expired"] == 2
    before = await get("/v1/stats", "ops", until=(today - timedelta(days=1)).isoformat())
    assert before["total"] == {"allow": 0, "deny": 0, "override": 0}
    assert before["since"] == (today - timedelta(days=30)).isoformat()
    await get("/v1/stats", "his", 403)
    await get("/v1/stats", "ops", 422, since="2026-01-02", until="2026-01-01")
    await get("/v1/stats", "ops", 422, since="2020-01-01", until="2026-01-01")
    await get("/v1/stats", "ops", 422, until="0001-01-01")


async def test_ready_tells_of_every_dependency_and_the_matrix(client: httpx.AsyncClient, gateway: Gateway) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    answered = await client.get("/readyz")
    assert answered.status_code == 200
    state = answered.json()
    assert (state["status"], state["degraded"]) == ("ready", False)
    assert {name: d["status"] for name, d in state["dependencies"].items()} == {
        "store": "up",
        "hospitals": "up",
        "seals": "up",
        "snapshot": "up",
    }
    assert [m["hospital"] for m in state["matrix"]] == ["wahh"]
    assert state["matrix"][0]["age_seconds"] < 2
    assert datetime.fromisoformat(state["matrix"][0]["as_of"]) <= datetime.now(UTC)


async def test_without_a_hospital_it_is_not_ready_and_without_its_store_degraded(
    client: httpx.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway.live, "settings", {})
    answered = await client.get("/readyz")
    assert (answered.status_code, answered.json()["dependencies"]["hospitals"]["status"]) == (503, "down")
    monkeypatch.undo()

    def broken() -> None:
        raise OSError("disk gone")

    monkeypatch.setattr(gateway.database, "read", broken)
    answered = await client.get("/readyz")
    assert (answered.status_code, answered.json()["dependencies"]["store"]["status"]) == (200, "down")
    assert answered.json()["degraded"]
    assert answered.json()["journal"] == {"waiting": 0, "oldest_at": None, "refused": 0}
    assert (await client.get("/healthz")).status_code == 200

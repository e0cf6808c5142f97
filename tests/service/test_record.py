"""Reading the record: decisions, cases, and who read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select

from app.main import Gateway
from app.store import keys as key_store
from app.store import tables
from tests.service.conftest import bearer
from tests.service.orders import EXPIRED, PRIVILEGED, order

pytestmark = pytest.mark.anyio


class Record:
    """Sends checks and reads them back."""

    def __init__(self, client: httpx.AsyncClient, keys: dict[str, str]) -> None:
        self._client = client
        self._keys = keys

    async def check(self, asked: dict[str, Any], role: str = "his") -> dict[str, Any]:
        answered = await self._client.post("/v1/check", json=asked, headers=bearer(self._keys[role]))
        assert answered.status_code == 200, answered.text
        found: dict[str, Any] = answered.json()
        return found

    async def get(self, path: str, role: str = "auditor", status: int = 200, **params: Any) -> Any:
        answered = await self._client.get(path, params=params, headers=bearer(self._keys[role]))
        assert answered.status_code == status, answered.text
        return answered.json()

    async def ids(self, role: str = "auditor", **params: Any) -> list[str]:
        return [item["decision_id"] for item in (await self.get("/v1/decisions", role, **params))["items"]]


@pytest.fixture
def record(client: httpx.AsyncClient, keys: dict[str, str]) -> Record:
    return Record(client, keys)


async def test_a_decision_is_read_as_it_was_sent_with_the_order_as_received(record: Record) -> None:
    asked = order(EXPIRED)
    sent = await record.check(asked)
    for role in ("his", "anesthesia", "medical_affairs", "auditor", "admin"):
        read = await record.get(f"/v1/decisions/{sent['decision_id']}", role)
        assert {name: read[name] for name in sent} == sent
        assert read["order"] == asked
        assert read["record"]["client"] == "his"
        assert read["record"]["matrix_version"] == sent["matrix"]["version"]
    await record.get(f"/v1/decisions/{sent['decision_id']}", "ops", 403)
    await record.get("/v1/decisions/none", "auditor", 404)


async def test_the_his_reads_its_own_clients_decisions_only(record: Record) -> None:
    mine = await record.check(order())
    theirs = await record.check(order(), "anesthesia")
    assert await record.ids("his") == [mine["decision_id"]]
    assert await record.ids("anesthesia") == [theirs["decision_id"], mine["decision_id"]]
    await record.get(f"/v1/decisions/{theirs['decision_id']}", "his", 404)


async def test_another_hospitals_decisions_are_not_there(
    record: Record, gateway: Gateway, keys: dict[str, str], client: httpx.AsyncClient
) -> None:
    sent = await record.check(order())
    row = {"code": "other", "name": "Other", "time_zone": "Asia/Shanghai", "province": "", "settings": b"{}"}
    async with gateway.database.write(None) as connection:
        await connection.execute(tables.hospitals.insert(), row)
        _, text = await key_store.create(connection, "other", [key_store.Role.ADMIN], "his", None)
        await connection.execute(
            tables.changes.insert().values(hospital="other", at="", by="", kind="import", subject="", action="", detail=b"null")
        )
        await connection.execute(
            tables.changes.insert().values(hospital="other", at="", by="", kind="key", subject="", action="", people=b"[]", detail=b"null")
        )
    await gateway.live.look()
    for path in (f"/v1/decisions/{sent['decision_id']}", f"/v1/cases/{sent['case_id']}", f"/v1/staff/{PRIVILEGED}/privileges"):
        assert (await client.get(path, headers=bearer(text))).status_code == 404
    listed = await client.get("/v1/decisions", headers=bearer(text))
    assert listed.json() == {"items": [], "next_cursor": None}


async def test_decisions_are_found_by_every_filter(record: Record) -> None:
    allowed = await record.check(order(department="心外科"))
    denied = await record.check(order(EXPIRED))
    notice = await record.check(order(checkpoint="notice", case_id=allowed["case_id"]))
    relaxed = await record.check(order(urgency="emergency", evidence={}, department="小儿外科", checkpoint="notice"))
    by_id = {d["decision_id"]: name for d, name in ((allowed, "allowed"), (denied, "denied"), (notice, "notice"), (relaxed, "relaxed"))}

    async def found(**params: Any) -> list[str]:
        return [by_id[i] for i in await record.ids(**params)]

    assert await found() == ["relaxed", "notice", "denied", "allowed"]
    assert await found(case_id=allowed["case_id"]) == ["notice", "allowed"]
    assert await found(operator=EXPIRED) == ["denied"]
    assert await found(operator=EXPIRED, code="３５.７１００１", reason="grant_expired", decision="deny") == ["denied"]
    assert await found(code=" 35.7 1001", checkpoint="notice") == ["relaxed", "notice"]
    assert await found(decision="allow", department="胸心外科") == ["notice", "allowed"]
    assert await found(emergency_to_confirm="true") == ["relaxed"]
    assert await found(code="35.9500x006") == []
    first = datetime.fromisoformat(denied["evaluated_at"])
    assert await found(since=denied["evaluated_at"]) == ["relaxed", "notice", "denied"]
    assert await found(until=denied["evaluated_at"]) == ["allowed"]
    assert await found(since=first.date().isoformat(), until=first.date().isoformat()) == ["relaxed", "notice", "denied", "allowed"]
    assert await found(until=(first - timedelta(days=1)).date().isoformat()) == []


@pytest.mark.parametrize("filters", [{}, {"operator": PRIVILEGED}, {"code": "35.71001", "operator": PRIVILEGED}])
async def test_pages_hold_every_decision_once_newest_first(record: Record, filters: dict[str, Any]) -> None:
    made = [(await record.check(order()))["decision_id"] for _ in range(7)]
    found: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await record.get("/v1/decisions", limit=3, **filters, **cursor)
        found += [item["decision_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        if len(found) == 3:
            await record.check(order())  # what comes later does not move what was there
    assert found == list(reversed(made))


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"operater": "x"}, "operater"),
        ({"decision": "maybe"}, "decision"),
        ({"reason": "no_such"}, "reason"),
        ({"code": "35.71001+"}, "code"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-11-22T08:00:00"}, "since"),
        ({"since": "1700000000"}, "since"),
        ({"until": "9999-12-31"}, "until"),
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "WzFd"}, "cursor"),
        ({"checkpoint": ""}, "checkpoint"),
    ],
)
async def test_a_wrong_or_unknown_filter_is_named(record: Record, params: dict[str, Any], field: str) -> None:
    problem = await record.get("/v1/decisions", "auditor", 422, **params)
    assert [e["field"] for e in problem["errors"]] == [field]


@pytest.mark.parametrize("path", ["/v1/decisions/none", "/v1/cases/none"])
async def test_what_takes_no_parameter_refuses_one(record: Record, path: str) -> None:
    problem = await record.get(path, "auditor", 422, limit=1)
    assert [e["field"] for e in problem["errors"]] == ["limit"]


async def test_a_case_shows_its_checkpoints_its_standing_and_its_overrides(record: Record) -> None:
    denied = await record.check(order(EXPIRED))
    case_id = denied["case_id"]
    declaration = {
        "lifesaving": True,
        "no_privileged_operator": True,
        "reason_code": "tamponade",
        "reason": "心包填塞，血压测不出",
        "declared_by": EXPIRED,
    }
    overridden = await record.check(order(EXPIRED, case_id=case_id, urgency="emergency", emergency=declaration))
    case = await record.get(f"/v1/cases/{case_id}", "anesthesia")
    assert [d["decision_id"] for d in case["checkpoints"]] == [denied["decision_id"], overridden["decision_id"]]
    assert [(o["id"], o["state"]) for o in case["overrides"]] == [(overridden["override"]["id"], "pending_report")]
    assert case["standing"]["decision"] == case["standing"]["now"]["decision"] == "override"
    assert case["standing"]["decision_id"] == overridden["decision_id"]
    await record.get(f"/v1/cases/{case_id}", "his", 403)
    await record.get("/v1/cases/none", "auditor", 404)


async def test_a_cases_standing_tells_what_has_become_of_the_privilege(record: Record, gateway: Gateway) -> None:
    sent = await record.check(order(case_id="S2026/11 17"))
    assert sent["decision"] == "allow"
    async with gateway.database.write(None) as connection:
        grants = tables.grants
        await connection.execute(grants.update().where(grants.c.staff == PRIVILEGED).values(state="suspended"))
        people = msgspec.json.encode([PRIVILEGED])
        await connection.execute(
            tables.changes.insert().values(
                hospital=gateway.live.hospitals.copy().popitem()[0],
                at="",
                by="",
                kind="grant",
                subject="",
                action="",
                people=people,
                detail=b"null",
            )
        )
    await gateway.live.look()
    standing = (await record.get("/v1/cases/S2026%2F11%2017", "anesthesia"))["standing"]
    assert (standing["decision"], standing["now"]["decision"]) == ("allow", "deny")


async def test_every_reading_is_recorded(record: Record, gateway: Gateway) -> None:
    began = datetime.now(UTC).isoformat()
    sent = await record.check(order())
    await record.get(f"/v1/decisions/{sent['decision_id']}", "auditor")
    await record.ids("anesthesia", case_id=sent["case_id"])
    await record.get(f"/v1/cases/{sent['case_id']}", "medical_affairs")
    await record.get("/v1/decisions/none", "auditor", 404)
    async with gateway.database.read() as connection:
        rows = (await connection.execute(select(tables.reads).order_by(tables.reads.c.seq))).all()
    assert [(r.client, r.kind) for r in rows] == [("auditor", "decision"), ("anesthesia", "decisions"), ("medical_affairs", "case")]
    assert all(msgspec.json.decode(r.found) == [sent["decision_id"]] and r.at > began for r in rows)
    assert msgspec.json.decode(rows[1].subject) == {"case_id": sent["case_id"]}

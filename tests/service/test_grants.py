"""A grant's life over HTTP: what it takes, what it answers, what the next check then says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.main import Gateway
from app.store import tables
from tests.service.conftest import bearer

pytestmark = pytest.mark.anyio

ORDER = json.loads((Path(__file__).parents[2] / "docs" / "example-order.json").read_text())
SURGEON, CODE = "100302", "35.71001"
BECAUSE = {"reason": "并发症率复核", "document_no": "医务〔2026〕12号", "by": "900001"}
NEW = {"staff": SURGEON, "scope_type": "code", "scope": "35.71001", "department": "小儿外科", "valid_from": "2026-01-01"} | BECAUSE

Call = Callable[..., Awaitable[httpx.Response]]
_ids = iter(range(10**6))


@pytest.fixture
def call(client: httpx.AsyncClient, keys: dict[str, str]) -> Call:
    async def sent(method: str, path: str, body: Any = None, role: str = "medical_affairs", **more: Any) -> httpx.Response:
        return await client.request(method, path, json=body, headers=bearer(keys[role]), **more)

    return sent


async def _check(call: Call, operator: str = SURGEON, code: str = CODE) -> dict[str, Any]:
    order = ORDER | {"request_id": f"R{next(_ids)}", "case_id": f"C{next(_ids)}", "requester": operator}
    order["procedures"] = [{"code": code, "operator": operator}]
    response = await call("POST", "/v1/check", order, role="his")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def _reasons(decision: dict[str, Any]) -> set[str]:
    return {finding["code"] for procedure in decision["procedures"] for finding in procedure["findings"]}


async def _grant_id(call: Call, staff: str = SURGEON, scope: str = CODE) -> str:
    found = (await call("GET", f"/v1/grants?staff={staff}&scope={scope}")).json()["items"]
    assert len(found) == 1
    return str(found[0]["id"])


def _fields(response: httpx.Response) -> set[str]:
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return {error["field"] for error in response.json()["errors"]}


async def test_what_is_suspended_is_denied_at_once_and_allowed_again_when_resumed(call: Call) -> None:
    assert (await _check(call))["decision"] == "allow"
    grant = await _grant_id(call)
    suspended = await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)
    assert suspended.status_code == 200
    assert suspended.json()["state"] == "suspended"
    assert suspended.json()["state_by_hand"] is True
    assert suspended.json()["still_covered_by"] == []
    denied = await _check(call)
    assert denied["decision"] == "deny"
    assert "grant_suspended" in _reasons(denied)
    assert denied["matrix"]["version"] >= suspended.json()["matrix_version"]
    resumed = await call("POST", f"/v1/grants/{grant}/resume", BECAUSE)
    assert (resumed.json()["state"], resumed.json()["state_by_hand"]) == ("active", False)
    assert (await _check(call))["decision"] == "allow"


async def test_revoked_is_final(call: Call) -> None:
    grant = await _grant_id(call)
    assert (await call("POST", f"/v1/grants/{grant}/revoke", BECAUSE)).json()["state"] == "revoked"
    assert "grant_revoked" in _reasons(await _check(call))
    for step in ("suspend", "resume", "revoke"):
        assert (await call("POST", f"/v1/grants/{grant}/{step}", BECAUSE)).status_code == 409
    assert (await call("POST", f"/v1/grants/{grant}/renew", BECAUSE | {"valid_to": None})).status_code == 409
    same = (await call("GET", f"/v1/grants/{grant}")).json()
    again = NEW | {"department": same["department"], "valid_from": same["valid_from"], "confirm": True}
    assert (await call("POST", "/v1/grants", again)).status_code == 409


async def test_steps_that_the_state_does_not_allow(call: Call) -> None:
    grant = await _grant_id(call)
    assert (await call("POST", f"/v1/grants/{grant}/resume", BECAUSE)).status_code == 409
    assert (await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)).status_code == 200
    assert (await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)).status_code == 409
    assert (await call("POST", f"/v1/grants/{grant}/revoke", BECAUSE)).status_code == 200
    assert (await call("POST", "/v1/grants/G-NONE/suspend", BECAUSE)).status_code == 404
    assert (await call("GET", "/v1/grants/G-NONE")).status_code == 404


async def test_what_a_file_suspended_may_be_suspended_by_hand_once(call: Call) -> None:
    grant = await _grant_id(call, scope="35.24001")
    assert (await call("GET", f"/v1/grants/{grant}")).json()["state_by_hand"] is False
    assert (await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)).json()["state_by_hand"] is True
    assert (await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)).status_code == 409


async def test_of_two_suspends_at_once_one_makes_the_change(call: Call) -> None:
    grant = await _grant_id(call)
    answers = await asyncio.gather(*(call("POST", f"/v1/grants/{grant}/suspend", BECAUSE) for _ in range(6)))
    assert sorted(a.status_code for a in answers) == [200, 409, 409, 409, 409, 409]
    logged = (await call("GET", f"/v1/changes?kind=grant&subject={grant}")).json()["items"]
    assert [entry["action"] for entry in logged] == ["suspend"]


async def test_a_change_needs_a_reason_and_somebody(call: Call) -> None:
    grant = await _grant_id(call)
    path = f"/v1/grants/{grant}/suspend"
    assert _fields(await call("POST", path, {"by": "900001"})) == {"reason"}
    assert _fields(await call("POST", path, BECAUSE | {"reason": "  "})) == {"reason"}
    assert _fields(await call("POST", path, {"reason": "复核"})) == {"by"}
    assert _fields(await call("POST", path, BECAUSE | {"reasons": "复核"})) == {"reasons"}
    assert _fields(await call("POST", path, BECAUSE | {"by": "  "})) == {"by"}
    assert (await call("GET", f"/v1/grants/{grant}")).json()["state"] == "active"


async def test_a_grant_is_added_and_counts_at_once(call: Call) -> None:
    order_day = {"valid_from": "2026-11-01", "last_evaluated": "2026-11-01"}
    code = "38.45008"
    assert (await _check(call, code=code))["decision"] == "deny"
    added = await call("POST", "/v1/grants", NEW | {"scope": code, "department": ""} | order_day)
    assert added.status_code == 201, added.text
    made = added.json()
    assert made["id"].startswith("G-")
    assert added.headers["location"] == f"/v1/grants/{made['id']}"
    assert (made["state"], made["role"], made["valid_to"], made["document_no"]) == ("active", "operator", None, BECAUSE["document_no"])
    assert (await call("GET", f"/v1/grants/{made['id']}")).json()["staff"] == SURGEON
    again = await call("POST", "/v1/grants", NEW | {"scope": code, "department": ""} | order_day)
    assert again.status_code == 409
    assert made["id"] in again.json()["detail"]


async def test_codes_are_taken_in_any_spelling(call: Call) -> None:
    added = await call("POST", "/v1/grants", NEW | {"scope": "３５.71001 "})
    assert added.json()["scope"] == "35.71001"
    found = (await call("GET", "/v1/grants", params={"staff": SURGEON, "scope": "３５．71001"})).json()["items"]
    assert added.json()["id"] in {grant["id"] for grant in found}


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"staff": "10030"}, "staff", "1003"),
        ({"scope": "35.7100"}, "scope", "35.71"),
        ({"scope": "35.71001+"}, "scope", "35.71001+"),
        ({"scope_type": "item", "scope": "WKJDXX3.9"}, "scope", "WKJDXX3."),
        ({"scope_type": "technology", "scope": "G99"}, "scope", "G"),
        ({"scope_type": "technology", "scope": "G11"}, "scope", "grantable"),
        ({"scope_type": "level", "scope": "3"}, "scope", "art. 16"),
        ({"scope_type": "level", "scope": "4"}, "scope", "art. 16"),
        ({"scope_type": "level", "scope": "9"}, "scope", "1 to 4"),
        ({"scope_type": "asa", "scope": "6"}, "scope", "1 to 5"),
        ({"scope_type": "everything"}, "scope_type", ""),
        ({"valid_to": "2025-12-31"}, "valid_to", "2025-12-31"),
        ({"valid_from": "yesterday"}, "valid_from", ""),
        ({"valid_till": "2027-12-31"}, "valid_till", "valid_to"),
        ({"role": "boss"}, "role", ""),
        ({"reason": ""}, "reason", ""),
        ({"scope": "  "}, "scope", ""),
    ],
)
async def test_a_grant_that_cannot_be_is_refused_by_field(call: Call, change: dict[str, str], field: str, says: str) -> None:
    response = await call("POST", "/v1/grants", NEW | change)
    assert _fields(response) == {field}
    assert says in response.json()["errors"][0]["message"]


@pytest.mark.parametrize("state", ["active", "suspended", "revoked"])
@pytest.mark.parametrize("scope", [("code", "35.7100"), ("item", "WKJDXX3.9"), ("technology", "G99"), ("technology", "G11")])
async def test_a_scope_that_is_not_known_is_refused_in_whatever_state(call: Call, scope: tuple[str, str], state: str) -> None:
    response = await call("POST", "/v1/grants", NEW | {"scope_type": scope[0], "scope": scope[1], "state": state})
    assert response.status_code == 422, response.text
    assert _fields(response) == {"scope"}
    unknown = "invalid" if scope[1] == "G11" else "unknown"
    assert [error["code"] for error in response.json()["errors"]] == [unknown]


async def test_every_wrong_column_is_named(call: Call) -> None:
    wrong = NEW | {"staff": "nobody", "scope": "99.99", "valid_to": "2020-01-01"}
    assert _fields(await call("POST", "/v1/grants", wrong)) == {"staff", "scope", "valid_to"}


async def test_what_is_held_suspended_is_granted_again_only_when_confirmed(call: Call) -> None:
    grant = await _grant_id(call)
    await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)
    for again in (
        NEW | {"department": ""},
        NEW | {"department": "小儿外科"},
        NEW | {"scope_type": "item", "scope": "WKJDXX3.2", "department": ""},
    ):
        refused = await call("POST", "/v1/grants", again)
        assert refused.status_code == 409, again
        assert grant in refused.json()["detail"]
    other = await call("POST", "/v1/grants", NEW | {"scope": "38.45008", "department": ""})
    assert other.status_code == 201
    not_loosening = await call("POST", "/v1/grants", NEW | {"department": "", "valid_from": "2026-02-01", "state": "suspended"})
    assert not_loosening.status_code == 201
    assert (await _check(call))["decision"] == "deny"
    confirmed = await call("POST", "/v1/grants", NEW | {"department": "", "confirm": True})
    assert confirmed.status_code == 201
    assert (await _check(call))["decision"] == "allow"


async def test_what_still_covers_the_scope_is_answered(call: Call) -> None:
    item = await call("POST", "/v1/grants", NEW | {"scope_type": "item", "scope": "WKJDXX3.2", "department": ""})
    assert item.status_code == 201
    grant = await _grant_id(call)
    suspended = (await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)).json()
    assert [(g["id"], g["covers"]) for g in suspended["still_covered_by"]] == [(item.json()["id"], "whole")]
    assert (await _check(call))["decision"] == "allow"
    revoked = (await call("POST", f"/v1/grants/{item.json()['id']}/revoke", BECAUSE)).json()
    assert grant not in {g["id"] for g in revoked["still_covered_by"]}
    assert all(g["covers"] == "part" for g in revoked["still_covered_by"])
    assert (await _check(call))["decision"] == "deny"


async def test_a_renewal_sets_what_it_names(call: Call) -> None:
    grant = await _grant_id(call, staff="100234")
    assert "grant_expired" in _reasons(await _check(call, operator="100234"))
    before = (await call("GET", f"/v1/grants/{grant}")).json()
    renewed = await call("POST", f"/v1/grants/{grant}/renew", BECAUSE | {"valid_to": "2027-09-30"})
    assert renewed.status_code == 200
    after = renewed.json()
    assert (after["valid_to"], after["document_no"]) == ("2027-09-30", BECAUSE["document_no"])
    assert after["last_evaluated"] == before["last_evaluated"]
    assert (await _check(call, operator="100234"))["decision"] == "allow"
    path = f"/v1/grants/{grant}/renew"
    assert _fields(await call("POST", path, BECAUSE)) == {"valid_to", "last_evaluated"}
    assert _fields(await call("POST", path, BECAUSE | {"valid_to": "2020-01-01"})) == {"valid_to"}
    evaluated = (await call("POST", path, {"reason": "年度评估", "by": "900001", "last_evaluated": "2026-11-20"})).json()
    assert (evaluated["last_evaluated"], evaluated["valid_to"]) == ("2026-11-20", "2027-09-30")
    assert evaluated["document_no"] == BECAUSE["document_no"]
    assert (await call("POST", path, BECAUSE | {"valid_to": None})).json()["valid_to"] is None


async def test_a_renewal_does_not_resume(call: Call) -> None:
    grant = await _grant_id(call)
    await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)
    assert (await call("POST", f"/v1/grants/{grant}/renew", BECAUSE | {"valid_to": None})).json()["state"] == "suspended"
    assert (await _check(call))["decision"] == "deny"


async def test_lists_are_filtered_and_paged(call: Call) -> None:
    everything = []
    path, cursor = f"/v1/grants?staff={SURGEON}&limit=7", None
    while True:
        page = (await call("GET", path if cursor is None else f"{path}&cursor={cursor}")).json()
        assert len(page["items"]) <= 7
        everything += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    whole = (await call("GET", f"/v1/grants?staff={SURGEON}&limit=500")).json()["items"]
    assert everything == whole
    assert len(whole) > 30
    assert {g["scope"] for g in (await call("GET", f"/v1/grants?staff={SURGEON}&scope_type=level")).json()["items"]} == {"1", "2"}
    assert {g["state"] for g in (await call("GET", "/v1/grants?state=revoked")).json()["items"]} == {"revoked"}
    assert _fields(await call("GET", "/v1/grants?state=gone")) == {"state"}
    assert _fields(await call("GET", "/v1/grants?cursor=%21%21")) == {"cursor"}
    assert _fields(await call("GET", "/v1/grants?cursor=WzFd")) == {"cursor"}
    assert _fields(await call("GET", "/v1/grants?limit=0")) == {"limit"}


@pytest.mark.parametrize("role", ["his", "anesthesia", "ops", "auditor"])
async def test_only_the_office_and_the_administrator_change_grants(call: Call, role: str) -> None:
    for method, path in (
        ("GET", "/v1/grants"),
        ("POST", "/v1/grants"),
        ("POST", "/v1/grants/G-1/suspend"),
        ("POST", "/v1/staff/1/suspend"),
    ):
        assert (await call(method, path, BECAUSE, role=role)).status_code == 403
    assert (await call("GET", "/v1/grants?limit=1", role="admin")).status_code == 200


async def test_a_change_is_kept_with_who_when_why_and_what_was_before(call: Call) -> None:
    grant = await _grant_id(call)
    await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)
    await call("POST", f"/v1/grants/{grant}/resume", BECAUSE | {"reason": "复核通过"})
    logged = (await call("GET", f"/v1/changes?kind=grant&subject={grant}", role="auditor")).json()["items"]
    assert [entry["action"] for entry in logged] == ["resume", "suspend"]
    first = logged[1]
    assert (first["by"], first["reason"], first["document_no"]) == ("900001", BECAUSE["reason"], BECAUSE["document_no"])
    assert first["detail"]["before"]["grant"]["state"] == "active"
    assert first["detail"]["after"]["grant"]["state"] == "suspended"
    assert first["detail"]["client"] == "medical_affairs"
    newer = (await call("GET", "/v1/changes", params={"kind": "grant", "since": logged[0]["at"]})).json()["items"]
    assert [entry["version"] for entry in newer] == [logged[0]["version"]]


async def test_the_change_log_is_paged_and_checked(call: Call) -> None:
    grant = await _grant_id(call)
    for step in ("suspend", "resume", "suspend"):
        await call("POST", f"/v1/grants/{grant}/{step}", BECAUSE)
    page = (await call("GET", "/v1/changes?limit=2")).json()
    rest = (await call("GET", f"/v1/changes?limit=100&cursor={page['next_cursor']}")).json()
    versions = [entry["version"] for entry in page["items"] + rest["items"]]
    assert versions == sorted(versions, reverse=True)
    assert len(versions) == 4
    assert rest["next_cursor"] is None
    assert _fields(await call("GET", "/v1/changes?since=2026-11-22T00:00:00")) == {"since"}
    assert _fields(await call("GET", "/v1/changes?cursor=WyJhIl0")) == {"cursor"}
    assert (await call("GET", "/v1/changes", role="ops")).status_code == 403


async def test_a_key_bound_to_a_person_acts_for_that_person(call: Call, gateway: Gateway, client: httpx.AsyncClient) -> None:
    from datetime import UTC, datetime

    from app.store import changes, keys

    async with gateway.database.write(None) as connection:
        _, text = await keys.create(connection, "wahh", [keys.Role.MEDICAL_AFFAIRS], None, "900077")
        seq = await changes.append(connection, changes.Change("wahh", "test", "key", "k", "create", people=()), datetime.now(UTC))
    await changes.in_force(gateway.database, seq)
    grant = await _grant_id(call)
    path = f"/v1/grants/{grant}/suspend"
    assert _fields(await client.post(path, json=BECAUSE, headers=bearer(text))) == {"by"}
    assert (await client.post(path, json={"reason": "复核"}, headers=bearer(text))).status_code == 200
    assert (await call("GET", f"/v1/changes?subject={grant}")).json()["items"][0]["by"] == "900077"


async def test_another_hospital_s_grant_is_not_there(call: Call, gateway: Gateway) -> None:
    grant = await _grant_id(call)
    async with gateway.database.write(None) as connection:
        other = {"code": "other", "name": "另一医院", "time_zone": "Asia/Shanghai", "settings": b"{}"}
        await connection.execute(tables.hospitals.insert(), other)
        await connection.execute(tables.grants.update().where(tables.grants.c.id == grant).values(hospital="other"))
    assert (await call("GET", f"/v1/grants/{grant}")).status_code == 404
    assert (await call("POST", f"/v1/grants/{grant}/revoke", BECAUSE)).status_code == 404
    assert grant not in {g["id"] for g in (await call("GET", f"/v1/grants?staff={SURGEON}&limit=500")).json()["items"]}


async def test_a_grant_that_a_file_left_out_can_come_back_but_not_one_that_was_revoked(call: Call, gateway: Gateway) -> None:
    grant = await _grant_id(call)
    same = (await call("GET", f"/v1/grants/{grant}")).json()
    again = NEW | {name: same[name] for name in ("department", "valid_from", "last_evaluated")}
    await _retire(gateway, grant)
    assert grant not in {g["id"] for g in (await call("GET", f"/v1/grants?staff={SURGEON}&limit=500")).json()["items"]}
    assert (await call("GET", f"/v1/grants/{grant}")).json()["retired"] is True
    assert (await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)).status_code == 409
    back = await call("POST", "/v1/grants", again)
    assert (back.status_code, back.json()["id"], back.json()["retired"]) == (201, grant, False)
    assert (await _check(call))["decision"] == "allow"
    assert (await call("POST", f"/v1/grants/{grant}/suspend", BECAUSE)).status_code == 200
    await _retire(gateway, grant)
    assert (await call("POST", "/v1/grants", again)).status_code == 409
    assert (await call("POST", "/v1/grants", again | {"confirm": True})).status_code == 201
    assert (await call("POST", f"/v1/grants/{grant}/revoke", BECAUSE)).status_code == 200
    await _retire(gateway, grant)
    assert (await call("POST", "/v1/grants", again | {"confirm": True})).status_code == 409


async def _retire(gateway: Gateway, grant: str) -> None:
    async with gateway.database.write(None) as connection:
        await connection.execute(tables.grants.update().where(tables.grants.c.id == grant).values(retired=True))

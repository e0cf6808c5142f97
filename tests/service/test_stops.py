"""A person suspended as a whole, a technology stopped in the whole hospital, over HTTP and as the next check sees it."""

from __future__ import annotations

import asyncio

import pytest

from app.store import tables
from tests.service.test_grants import BECAUSE, SURGEON, Call, _check, _fields, _reasons, call

__all__ = ["call"]

pytestmark = pytest.mark.anyio

ECMO, ECMO_CODE = "G11", "39.6500*001"


async def test_a_suspended_person_may_do_nothing_until_resumed(call: Call) -> None:
    assert (await _check(call))["decision"] == "allow"
    suspended = await call("POST", f"/v1/staff/{SURGEON}/suspend", BECAUSE)
    assert suspended.status_code == 200
    shown = suspended.json()
    assert (shown["staff"], shown["status"], shown["suspended_by_hand"]) == (SURGEON, "suspended", True)
    denied = await _check(call)
    assert denied["decision"] == "deny"
    assert not denied["overridable"]
    assert "staff_suspended" in _reasons(denied)
    assert (await call("POST", f"/v1/staff/{SURGEON}/suspend", BECAUSE)).status_code == 409
    resumed = (await call("POST", f"/v1/staff/{SURGEON}/resume", BECAUSE)).json()
    assert (resumed["status"], resumed["suspended_by_hand"]) == ("active", False)
    assert (await _check(call))["decision"] == "allow"
    assert (await call("POST", f"/v1/staff/{SURGEON}/resume", BECAUSE)).status_code == 409


async def test_a_person_s_suspension_is_kept_with_its_reason(call: Call) -> None:
    await call("POST", f"/v1/staff/{SURGEON}/suspend", BECAUSE)
    (entry,) = (await call("GET", f"/v1/changes?kind=staff&subject={SURGEON}")).json()["items"]
    assert (entry["action"], entry["by"], entry["reason"]) == ("suspend", BECAUSE["by"], BECAUSE["reason"])
    assert (entry["detail"]["before"]["status"], entry["detail"]["after"]["status"]) == ("active", "suspended")


async def test_who_is_unknown_or_has_left_is_not_suspended(call: Call, gateway: object) -> None:
    from app.main import Gateway

    assert isinstance(gateway, Gateway)
    assert (await call("POST", "/v1/staff/nobody/suspend", BECAUSE)).status_code == 404
    async with gateway.database.write(None) as connection:
        await connection.execute(tables.staff.update().where(tables.staff.c.staff == SURGEON).values(status="left"))
    for step in ("suspend", "resume"):
        assert (await call("POST", f"/v1/staff/{SURGEON}/{step}", BECAUSE)).status_code == 409


async def test_of_two_suspensions_of_a_person_at_once_one_makes_the_change(call: Call) -> None:
    answers = await asyncio.gather(*(call("POST", f"/v1/staff/{SURGEON}/suspend", BECAUSE) for _ in range(4)))
    assert sorted(a.status_code for a in answers) == [200, 409, 409, 409]


async def test_a_stopped_technology_is_denied_for_everybody_until_resumed(call: Call) -> None:
    assert "technology_stopped" not in _reasons(await _check(call, code=ECMO_CODE))
    stopped = await call("POST", f"/v1/technologies/{ECMO}/stop", BECAUSE)
    assert stopped.status_code == 200
    assert (stopped.json()["stopped"], stopped.json()["stopped_by_hand"]) == (True, True)
    assert "technology_stopped" in _reasons(await _check(call, code=ECMO_CODE))
    assert (await call("POST", f"/v1/technologies/{ECMO}/stop", BECAUSE)).status_code == 409
    resumed = (await call("POST", f"/v1/technologies/{ECMO}/resume", BECAUSE)).json()
    assert (resumed["stopped"], resumed["stopped_by_hand"]) == (False, False)
    assert "technology_stopped" not in _reasons(await _check(call, code=ECMO_CODE))
    assert (await call("POST", f"/v1/technologies/{ECMO}/resume", BECAUSE)).status_code == 409
    assert (await call("POST", "/v1/technologies/G99/stop", BECAUSE)).status_code == 404
    logged = (await call("GET", f"/v1/changes?kind=technology&subject={ECMO}")).json()["items"]
    assert [entry["action"] for entry in logged] == ["resume", "stop"]


async def test_a_stop_needs_a_reason_and_somebody(call: Call) -> None:
    for path in (f"/v1/staff/{SURGEON}/suspend", f"/v1/technologies/{ECMO}/stop"):
        assert _fields(await call("POST", path, {"by": "900001", "reason": " "})) == {"reason"}
        assert _fields(await call("POST", path, {"reason": "复核"})) == {"by"}
        assert (await call("POST", path, BECAUSE, role="auditor")).status_code == 403
    assert (await _check(call))["decision"] == "allow"

"""What docs/operations.md promises to a ward that enters its paper forms after the gateway was down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.service.conftest import bearer
from tests.service.orders import EXPIRED, order
from tests.service.reviews import emergency

THEN = "2026-09-15T08:00:00+08:00"
"""Before the grant of `EXPIRED` ended."""
LONG_AGO = "2020-01-06T08:00:00+08:00"
"""Before any grant began."""

pytestmark = pytest.mark.anyio


async def _check(client: httpx.AsyncClient, key: str, body: dict[str, Any]) -> Any:
    answered = await client.post("/v1/check", json=body, headers=bearer(key))
    assert answered.status_code == 200, answered.text
    return answered.json()


async def test_a_grant_must_hold_on_the_day_of_the_operation_and_on_that_of_entering(
    client: httpx.AsyncClient, keys: dict[str, str]
) -> None:
    his = keys["his"]
    assert (await _check(client, his, order(planned_start=THEN)))["decision"] == "allow"
    assert (await _check(client, his, order(EXPIRED, planned_start=THEN)))["decision"] == "deny", "it has ended since"
    assert (await _check(client, his, order(planned_start=LONG_AGO)))["decision"] == "deny", "it had not begun"
    made = await _check(client, his, order(planned_start=THEN))
    assert datetime.fromisoformat(made["evaluated_at"]) > datetime.fromisoformat(THEN)


async def test_a_suspension_made_since_counts_although_the_operation_was_before_it(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    admin = bearer(keys["admin"])
    stopped = await client.post("/v1/staff/100007/suspend", json={"reason": "外出进修", "by": "900001"}, headers=admin)
    assert stopped.status_code == 200, stopped.text
    assert (await _check(client, keys["his"], order(planned_start=THEN)))["decision"] == "deny"


async def test_an_override_entered_afterwards_is_late_and_awaits_its_review(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    made = await _check(client, keys["his"], emergency(planned_start=yesterday))
    assert (made["decision"], made["override"]["late"], made["override"]["state"]) == ("override", True, "pending_report")


async def test_what_a_key_of_its_own_entered_is_told_apart(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    made = await client.post("/v1/keys", json={"roles": ["his"], "client": "downtime"}, headers=bearer(keys["admin"]))
    assert made.status_code == 201, made.text
    downtime = made.json()["key"]
    await _check(client, keys["his"], order())
    entered = [(await _check(client, downtime, order(request_id=f"PAPER-{number}")))["decision_id"] for number in range(2)]
    listed = (await client.get("/v1/decisions", headers=bearer(downtime))).json()["items"]
    assert sorted(one["decision_id"] for one in listed) == sorted(entered)

"""What is done for the store from time to time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text

from app.main import Gateway
from app.store import duties, partitions, tables
from app.store.upkeep import KEPT_SENT
from tests.service.conftest import anyio_backend, client, gateway, keys_fixture, settings, shared, store, store_template, template
from tests.service.orders import EXPIRED, order

__all__ = ["anyio_backend", "client", "gateway", "keys_fixture", "settings", "shared", "store", "store_template", "template"]

pytestmark = pytest.mark.anyio

NOW = datetime(2027, 11, 22, tzinfo=UTC)


async def _tables(gateway: Gateway) -> set[str]:
    async with gateway.database.read() as connection:
        return set((await connection.execute(text("SELECT inhrelid::regclass::text FROM pg_inherits"))).scalars())


def _notification(state: str, done_at: datetime) -> dict[str, Any]:
    instant = done_at.isoformat(timespec="microseconds")
    return {
        "hospital": "wahh",
        "override_id": "O-1",
        "target": "t",
        "event": "open",
        "message": b"{}",
        "created_at": instant,
        "state": state,
        "next_at": instant,
        "done_at": instant,
    }


async def test_the_months_to_come_have_their_tables(gateway: Gateway) -> None:
    if gateway.database.embedded:
        async with gateway.database.write("test") as connection:
            assert await partitions.make(connection, NOW) == []
        return
    await gateway.upkeep.look(NOW)
    assert {"decisions_2027_11", "decisions_2027_12", "decisions_2028_01", "decisions_2028_02"} <= await _tables(gateway)
    before = await _tables(gateway)
    await gateway.upkeep.look(NOW)
    assert await _tables(gateway) == before


async def test_a_decision_is_in_the_table_of_its_month_and_one_of_no_months_is_taken_too(
    gateway: Gateway, client: Any, keys: dict[str, str]
) -> None:
    sent = await client.post("/v1/check", json=order(EXPIRED), headers={"Authorization": f"Bearer {keys['his']}"})
    assert sent.status_code == 200, sent.text
    if gateway.database.embedded:
        return
    month = f"decisions_{datetime.now(UTC):%Y_%m}"
    async with gateway.database.write("test") as connection:
        assert (await connection.execute(text(f"SELECT count(*) FROM {month}"))).scalar() == 1
        row = (await connection.execute(select(tables.decisions))).mappings().one()
        far = {**row, "seq": 4711, "id": "far", "request_id": "far", "at": "2031-05-01T00:00:00.000000+00:00"}
        await connection.execute(tables.decisions.insert(), far)
        assert (await connection.execute(text(f"SELECT id FROM {partitions.OTHERS}"))).scalars().all() == ["far"]
        # That month's table cannot be made any more: what it would take is in the other one. Nothing fails for that.
        made = await partitions.make(connection, datetime(2031, 5, 2, tzinfo=UTC))
    assert made == ["decisions_2031_06", "decisions_2031_07", "decisions_2031_08"]


async def test_what_was_delivered_long_ago_is_forgotten_and_what_was_not_is_kept(gateway: Gateway) -> None:
    old, young = NOW - KEPT_SENT - timedelta(seconds=1), NOW - KEPT_SENT + timedelta(seconds=1)
    async with gateway.database.write("test") as connection:
        rows = [_notification(state, at) for state in ("sent", "dead") for at in (old, young)]
        await connection.execute(tables.outbox.insert(), rows)
    await gateway.upkeep.look(NOW)
    async with gateway.database.read() as connection:
        found = await connection.execute(select(tables.outbox.c.state, func.count()).group_by(tables.outbox.c.state))
        assert {row[0]: row[1] for row in found} == {"sent": 1, "dead": 2}


async def test_a_duty_that_a_wrong_clock_took_for_a_year_is_taken_over(gateway: Gateway) -> None:
    """Its worker has died. One that lives renews it by a clock that is a little ahead, and keeps it."""
    for ahead, taken in ((timedelta(seconds=5), False), (timedelta(days=365), True)):
        until = (datetime.now(UTC) + timedelta(seconds=duties.LEASE_SECONDS) + ahead).isoformat(timespec="microseconds")
        async with gateway.database.write("test") as connection:
            await duties.lay_down(connection, "test", "other")
            await connection.execute(tables.duties.insert().values(name="test", worker="other", lease_until=until))
            assert await duties.hold(connection, "test", "me") == taken

"""The lease under which a worker trusts its memory, at the moments that real processes seldom show."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.cache.lease import Lease
from app.cache.live import Live
from app.settings import Settings
from app.store import changes, tables
from app.store.changes import Change
from app.store.database import Database

pytestmark = pytest.mark.anyio

SURGEON = "100302"


class Frozen(Lease):
    """Between reading the log and writing its lease down, a change of somebody else's is made and returns."""

    change_comes = True

    async def _write(self, seq: int, lingering: bool) -> None:
        if self.change_comes:
            self.change_comes = False
            await _suspend(self._database)
        await super()._write(seq, lingering)


async def _suspend(database: Database) -> None:
    async with database.write(None) as connection:
        mine = tables.staff.c.staff == SURGEON
        await connection.execute(tables.staff.update().where(mine).values(status="suspended"))
        await changes.append(connection, Change("wahh", "1", "staff", SURGEON, "suspend", people=(SURGEON,)), datetime.now(UTC))


async def test_a_worker_has_no_lease_on_what_it_read_before_a_change(settings: Settings) -> None:
    database = Database(settings.database)
    live = Live(database, "frozen", lease_seconds=10, follow_seconds=5)
    live._lease = Frozen(database, "frozen", 10)
    await live.start()
    try:
        assert live.hospitals["wahh"].people[SURGEON].staff.status == "active"
        await live.fresh()
        assert live.hospitals["wahh"].people[SURGEON].staff.status == "suspended"
    finally:
        await live.stop()
        await database.close()

"""Duties: what one worker at a time does for all (deliver notifications, seal the chain, remind of reviews), under a lease in the database.

A duty whose worker has died is taken over when its lease has run out. Two workers may for a moment both believe to hold one, after a freeze:
what a duty does must bear being done twice.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import tables

LEASE_SECONDS = 10.0
"""How long a duty stays with its worker without being renewed."""

BEYOND_SECONDS = 60.0
"""What is held for that much longer was taken by a clock that is wrong, and if its worker has died nobody would do it until then."""


async def hold(connection: AsyncConnection, name: str, worker: str) -> bool:
    """Take or renew a duty; False where another worker holds it. The transaction must be one that writes."""
    table = tables.duties
    now = datetime.now(UTC)
    longest = now + timedelta(seconds=LEASE_SECONDS + BEYOND_SECONDS)
    held = (await connection.execute(select(table).where(table.c.name == name))).first()
    if held is not None and held.worker != worker and now < datetime.fromisoformat(held.lease_until) <= longest:
        return False
    until = (now + timedelta(seconds=LEASE_SECONDS)).isoformat(timespec="microseconds")
    await connection.execute(delete(table).where(table.c.name == name))
    await connection.execute(table.insert().values(name=name, worker=worker, lease_until=until))
    return True


async def lay_down(connection: AsyncConnection, name: str, worker: str) -> None:
    """A worker stops: another one may take its duty at once."""
    table = tables.duties
    await connection.execute(delete(table).where(table.c.name == name, table.c.worker == worker))

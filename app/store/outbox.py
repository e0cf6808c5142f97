"""The outbox: what the medical affairs office is to be told, written in the transaction that makes it true, delivered afterwards (`app.notify`).

Messages of one override to one target go out in their order: the next waits until the one before was sent or is dead.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import tables
from app.store.database import note_enqueued

STATES = ("waiting", "sent", "dead")


class Notice(NamedTuple):
    """A message to one target of the hospital. `event`: the step that it tells of; `message`: JSON, see `app.notify.notices`."""

    target: str
    event: str
    message: bytes


class Due(NamedTuple):
    """A message that may be sent now. `attempts`: those before."""

    seq: int
    hospital: str
    override_id: str
    target: str
    event: str
    message: bytes
    attempts: int


class Kept(NamedTuple):
    """A message as it stands in the outbox, without its content."""

    seq: int
    override_id: str
    target: str
    event: str
    created_at: str
    state: str
    attempts: int
    next_at: str
    last_error: str
    done_at: str | None


async def enqueue(connection: AsyncConnection, hospital: str, override_id: str, notices: Sequence[Notice], at: str) -> None:
    """Put messages out, to be delivered in this order per override and target. The transaction must be one that writes."""
    if notices:
        rows = [
            {
                "hospital": hospital,
                "override_id": override_id,
                "target": notice.target,
                "event": notice.event,
                "message": notice.message,
                "created_at": at,
                "state": "waiting",
                "next_at": at,
            }
            for notice in notices
        ]
        await connection.execute(tables.outbox.insert(), rows)
        note_enqueued(connection)


async def lanes(connection: AsyncConnection, now: str) -> list[tuple[str, str]]:
    """The targets (hospital, target) for which something waits whose time has come."""
    table = tables.outbox
    query = select(table.c.hospital, table.c.target).where(table.c.state == "waiting", table.c.next_at <= now).distinct()
    return [(row.hospital, row.target) for row in await connection.execute(query)]


async def due(connection: AsyncConnection, lane: tuple[str, str], now: str, but: Collection[int], limit: int) -> list[Due]:
    """What may be sent to a target now, oldest first: of each override its first message that waits. `but`: what is being sent."""
    table, before = tables.outbox, tables.outbox.alias()
    earlier = exists().where(
        before.c.hospital == table.c.hospital,
        before.c.override_id == table.c.override_id,
        before.c.target == table.c.target,
        before.c.seq < table.c.seq,
        before.c.state == "waiting",
    )
    query = (
        select(*(table.c[name] for name in Due._fields))
        .where(table.c.hospital == lane[0], table.c.target == lane[1], table.c.state == "waiting", table.c.next_at <= now)
        .where(table.c.seq.not_in(but), ~earlier)
        .order_by(table.c.seq)
        .limit(limit)
    )
    return [Due._make(row) for row in await connection.execute(query)]


async def mark_sent(connection: AsyncConnection, seq: int, at: str) -> None:
    """A message was acknowledged."""
    await _mark(connection, seq, state="sent", done_at=at, last_error="")


async def mark_failed(connection: AsyncConnection, seq: int, error: str, next_at: str) -> None:
    """A message was not acknowledged, and is tried again."""
    await _mark(connection, seq, last_error=error, next_at=next_at)


async def mark_dead(connection: AsyncConnection, seq: int, error: str, at: str) -> None:
    """A message is given up; people see it, and may have it tried again."""
    await _mark(connection, seq, state="dead", last_error=error, done_at=at)


async def listed(connection: AsyncConnection, hospital: str, state: str | None, before: int | None, limit: int) -> list[Kept]:
    """A hospital's messages, newest first, of a state, older than a number."""
    table = tables.outbox
    query = select(*(table.c[name] for name in Kept._fields)).where(table.c.hospital == hospital)
    if state is not None:
        query = query.where(table.c.state == state)
    if before is not None:
        query = query.where(table.c.seq < before)
    return [Kept._make(row) for row in await connection.execute(query.order_by(table.c.seq.desc()).limit(limit))]


async def one(connection: AsyncConnection, hospital: str, seq: int) -> Kept | None:
    """A hospital's message by its number."""
    table = tables.outbox
    query = select(*(table.c[name] for name in Kept._fields)).where(table.c.hospital == hospital, table.c.seq == seq)
    row = (await connection.execute(query)).first()
    return None if row is None else Kept._make(row)


async def revive(connection: AsyncConnection, hospital: str, seq: int, at: str) -> bool:
    """Have a dead message tried again from now on; False where it is not dead."""
    table = tables.outbox
    mine = (table.c.hospital == hospital, table.c.seq == seq, table.c.state == "dead")
    changed = await connection.execute(update(table).where(*mine).values(state="waiting", attempts=0, next_at=at, done_at=None))
    note_enqueued(connection)
    return changed.rowcount == 1


async def counts(connection: AsyncConnection) -> dict[tuple[str, str], int]:
    """How many messages wait and how many are dead, by (hospital, state)."""
    table = tables.outbox
    query = select(table.c.hospital, table.c.state, func.count()).where(table.c.state.in_(("waiting", "dead")))
    return {(row[0], row[1]): row[2] for row in await connection.execute(query.group_by(table.c.hospital, table.c.state))}


async def _mark(connection: AsyncConnection, seq: int, **values: Any) -> None:
    table = tables.outbox
    waiting = (table.c.seq == seq, table.c.state == "waiting")
    await connection.execute(update(table).where(*waiting).values(attempts=table.c.attempts + 1, **values))


async def forget_sent(connection: AsyncConnection, before: str) -> int:
    """Delete what was sent before an instant; how many."""
    table = tables.outbox
    gone = await connection.execute(delete(table).where(table.c.state == "sent", table.c.done_at < before))
    return gone.rowcount

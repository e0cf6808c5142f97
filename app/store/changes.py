"""The change log: every change of grants, people, catalog, technologies or policy is one row, in order; its number is the matrix version.

A change is one transaction that also appends here, and it is in force everywhere when `in_force` returns: each live worker has acknowledged
its version, or that worker's lease has run out, after which the worker looks at the log before it trusts its memory again. A worker that takes long
to read what changed may renew its lease meanwhile (`linger`) as long as it is still waited for: who waits has then seen that lease's end to come.

No clock of the day has a part in this, so that none can be set wrong. A lease is a length of time. Its worker counts it from before it asked
for it; who waits for its end counts it from after the change was committed. Both count by their own machine's time since it was started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import chain, locks, tables
from app.store.database import Database, note_change
from app.store.locks import Lock

POLL_SECONDS = 0.01
"""How often a change looks whether all workers have acknowledged it."""

KEYS, TECHNOLOGIES = "key", "technology"
"""Kinds of changes that are followed without reading people again. One of keys does not touch the matrix."""

LEASE_MARGIN = 1.2
"""By what a lease that is waited for is lengthened: two machines' clocks do not tick alike. One that is being brought to the right time may run a twelfth
too fast or too slow (chrony's `maxslewrate`), and that moves the clock of `since_boot` too."""


# Asked many times a second by every worker: built once.
_STANDING = select(
    func.max(tables.changes.c.seq), select(tables.changes.c.at).where(tables.changes.c.seq == bindparam("seq")).scalar_subquery()
)
_LATE = select(tables.workers).where(tables.workers.c.acknowledged < bindparam("seq"))
_RENEW = (
    update(tables.workers)
    .where(tables.workers.c.id == bindparam("worker"))
    .values(acknowledged=bindparam("seq"), lease_ms=bindparam("lease"), renewals=tables.workers.c.renewals + 1)
)


class Mark(NamedTuple):
    """Which change of a hospital's matrix was the last one: its number, and when it was made (RFC 3339, UTC). The number alone would not tell: a
    database that was restored from a backup gives numbers anew."""

    seq: int
    at: str


class Change(msgspec.Struct, frozen=True):
    """One change. `people`: the staff numbers whose rows changed; None where the whole hospital is to be read again."""

    hospital: str
    by: str
    kind: str
    subject: str
    action: str
    reason: str = ""
    document_no: str = ""
    people: tuple[str, ...] | None = None
    detail: Any = None


class Logged(msgspec.Struct, frozen=True):
    """What a reader of the log needs: the version, the hospital, what kind of thing, whose rows changed, when."""

    seq: int
    hospital: str
    kind: str
    people: tuple[str, ...] | None
    at: str = ""


class Entry(msgspec.Struct, frozen=True):
    """A change as it is read by people: who changed what, when, why and on which document. `detail`: before and after, as plain JSON."""

    version: int
    at: datetime
    by: str
    kind: str
    subject: str
    action: str
    reason: str
    document_no: str
    detail: Any


async def append(connection: AsyncConnection, change: Change, at: datetime) -> int:
    """Append a change within the transaction that makes it; the matrix version that it gives."""
    await locks.take(connection, Lock.CHANGES)
    row: dict[str, Any] = {
        "hospital": change.hospital,
        "at": _text(at),
        "by": change.by,
        "kind": change.kind,
        "subject": change.subject,
        "action": change.action,
        "reason": change.reason,
        "document_no": change.document_no,
        "people": None if change.people is None else msgspec.json.encode(change.people),
        "detail": msgspec.json.encode(change.detail),
    }
    made = (await connection.execute(tables.changes.insert().values(row))).inserted_primary_key
    assert made is not None
    note_change(connection, change.hospital, int(made[0]))
    await chain.append(connection, change.hospital, [chain.Link("change", str(made[0]), row["at"], chain.form_of(tables.changes, row))])
    return int(made[0])


async def since(connection: AsyncConnection, seq: int, hospital: str | None = None) -> list[Logged]:
    """The changes after a version, oldest first; of one hospital, or of all."""
    log = tables.changes
    query = select(log.c.seq, log.c.hospital, log.c.kind, log.c.people, log.c.at).where(log.c.seq > seq).order_by(log.c.seq)
    if hospital is not None:
        query = query.where(log.c.hospital == hospital)
    return [
        Logged(r.seq, r.hospital, r.kind, None if r.people is None else msgspec.json.decode(r.people, type=tuple[str, ...]), r.at)
        for r in await connection.execute(query)
    ]


async def mark(connection: AsyncConnection, hospital: str) -> Mark:
    """The last change of a hospital's matrix; number 0 where there was none."""
    log = tables.changes
    query = select(log.c.seq, log.c.at).where(log.c.hospital == hospital, log.c.kind != KEYS).order_by(log.c.seq.desc()).limit(1)
    row = (await connection.execute(query)).first()
    return Mark(0, "") if row is None else Mark(row.seq, row.at)


async def marks(connection: AsyncConnection) -> dict[str, Mark]:
    """The last change of every hospital's matrix."""
    log = tables.changes
    last = select(func.max(log.c.seq)).where(log.c.kind != KEYS).group_by(log.c.hospital)
    rows = await connection.execute(select(log.c.hospital, log.c.seq, log.c.at).where(log.c.seq.in_(last)))
    return {row.hospital: Mark(row.seq, row.at) for row in rows}


async def was(connection: AsyncConnection, hospital: str, mark: Mark) -> bool:
    """Whether the log has that change."""
    log = tables.changes
    query = select(log.c.seq).where(log.c.seq == mark.seq, log.c.hospital == hospital, log.c.at == mark.at)
    return (await connection.execute(query)).first() is not None


async def entries(
    connection: AsyncConnection,
    hospital: str,
    since: datetime | None,
    kind: str | None,
    subject: str | None,
    before: int | None,
    limit: int,
) -> list[Entry]:
    """A hospital's changes for people to read, newest first: from an instant on, of a kind, of a subject, older than a version."""
    log = tables.changes
    query = select(log).where(log.c.hospital == hospital).order_by(log.c.seq.desc()).limit(limit)
    if since is not None:
        query = query.where(log.c.at >= _text(since))
    if kind is not None:
        query = query.where(log.c.kind == kind)
    if subject is not None:
        query = query.where(log.c.subject == subject)
    if before is not None:
        query = query.where(log.c.seq < before)
    return [
        Entry(
            version=row.seq,
            at=datetime.fromisoformat(row.at),
            by=row.by,
            kind=row.kind,
            subject=row.subject,
            action=row.action,
            reason=row.reason,
            document_no=row.document_no,
            detail=msgspec.json.decode(row.detail),
        )
        for row in await connection.execute(query)
    ]


async def latest(connection: AsyncConnection) -> int:
    """The number of the last change of any hospital."""
    return (await connection.execute(select(func.max(tables.changes.c.seq)))).scalar() or 0


async def standing(connection: AsyncConnection, seq: int) -> tuple[int, str | None]:
    """The number of the last change, and the instant of the one with that number: None, or another one than before, where the log is not the one
    that was followed any more (the database was restored from a backup)."""
    latest, mark = (await connection.execute(_STANDING, {"seq": seq})).one()
    return latest or 0, mark


async def acknowledge(connection: AsyncConnection, worker: str, seq: int, lease_seconds: float) -> bool:
    """A worker says which version it honours, and for how long it will trust its memory without looking. False: the log is further already, and
    the worker must not trust its memory.

    Nobody commits a change between that look at the log and the commit of what is said here.
    """
    await locks.share_changes(connection)
    current = await latest(connection) == seq
    # Who is behind and was taken off the list does not put itself on it again: what it does not honour may have returned, and `linger` goes by the list.
    if not await _renewed(connection, worker, seq, lease_seconds) and current:
        said = {"acknowledged": seq, "lease_ms": round(lease_seconds * 1000)}
        await connection.execute(tables.workers.insert().values(id=worker, renewals=1, **said))
    return current


async def linger(connection: AsyncConnection, worker: str, seq: int, lease_seconds: float) -> bool:
    """A worker says that it goes on by a version which is not the last one until it has read that, and is to be waited for. False: nobody waits for it
    any more, and it must not trust its memory."""
    return await _renewed(connection, worker, seq, lease_seconds)


async def _renewed(connection: AsyncConnection, worker: str, seq: int, lease_seconds: float) -> bool:
    """Renew a lease; False where there is none to renew."""
    said = {"worker": worker, "seq": seq, "lease": round(lease_seconds * 1000)}
    return bool((await connection.execute(_RENEW, said)).rowcount)


async def sign_off(connection: AsyncConnection, worker: str) -> None:
    """A worker stops: nobody waits for it any more."""
    await connection.execute(delete(tables.workers).where(tables.workers.c.id == worker))


class _Late(NamedTuple):
    """A worker that has not acknowledged a version: how often it had been heard of when it was last seen, and until when it may trust its memory if it
    is not heard of again, by `since_boot`."""

    renewals: int
    until: float


async def in_force(database: Database, seq: int) -> None:
    """Return when every worker honours that version, or cannot but look before it answers."""
    late = await _late(database, seq, {})
    while late:
        over = {id_: one for id_, one in late.items() if since_boot() > one.until}
        if over:
            await _forget(database, seq, over)
        else:
            await asyncio.sleep(POLL_SECONDS)
        late = await _late(database, seq, late)


async def _late(database: Database, seq: int, before: Mapping[str, _Late]) -> dict[str, _Late]:
    """The workers that have not acknowledged a version, by id. `before`: what was known of them."""
    late: dict[str, _Late] = {}
    async with database.read() as connection:
        rows = (await connection.execute(_LATE, {"seq": seq})).all()
    now = since_boot()
    for row in rows:
        one = before.get(row.id)
        if one is None or one.renewals != row.renewals:
            one = _Late(row.renewals, now + LEASE_MARGIN * row.lease_ms / 1000)
        late[row.id] = one
    return late


async def _forget(database: Database, seq: int, over: Mapping[str, _Late]) -> None:
    """Take those off the list who have not been heard of all the while: they have ended, or must look before they answer. Who has not ended puts itself
    on it again when it has looked. It counts its renewals anew then, and may have done so already, after another change that waited took it off: who
    honours `seq` has a lease, and stays."""
    table = tables.workers
    async with database.write(None) as connection:
        for id_, one in over.items():
            same = (table.c.id == id_, table.c.renewals == one.renewals, table.c.acknowledged < seq)
            await connection.execute(delete(table).where(*same))


def since_boot() -> float:
    """Seconds since the machine was started, time asleep included. Nobody sets that clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")

"""The change log: every change of grants, people, catalog, technologies or policy is one row, in order; its number is the matrix version.

A change is one transaction that also appends here, and it is in force everywhere when `in_force` returns: each live worker has acknowledged
its version, or that worker's lease has run out, after which the worker looks at the log before it trusts its memory again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import chain, tables
from app.store.database import Database, note_change

POLL_SECONDS = 0.01
"""How often a change looks whether all workers have acknowledged it."""

KEYS, TECHNOLOGIES = "key", "technology"
"""Kinds of changes that are followed without reading people again. One of keys does not touch the matrix."""

LEASE_MARGIN_SECONDS = 0.25
"""Added to a lease that is waited for: the clocks of one machine's processes are one clock, but writing it down takes time."""


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


async def acknowledge(connection: AsyncConnection, worker: str, seq: int, lease_until: datetime) -> None:
    """A worker says which version it honours, and until when it will trust its memory without looking."""
    values = {"id": worker, "acknowledged": seq, "lease_until": _text(lease_until)}
    statement = insert(tables.workers).values(values)
    await connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


async def sign_off(connection: AsyncConnection, worker: str) -> None:
    """A worker stops: nobody waits for it any more."""
    await connection.execute(delete(tables.workers).where(tables.workers.c.id == worker))


async def in_force(database: Database, seq: int, but: Collection[str] = ()) -> None:
    """Return when every live worker honours that version, or cannot but look before it answers."""
    while True:
        now = datetime.now(UTC) - timedelta(seconds=LEASE_MARGIN_SECONDS)
        workers = tables.workers
        behind = select(workers.c.id).where(workers.c.acknowledged < seq, workers.c.lease_until > _text(now))
        async with database.read() as connection:
            waiting = set((await connection.execute(behind)).scalars()) - set(but)
        if not waiting:
            return
        await asyncio.sleep(POLL_SECONDS)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")

"""The record as a file: JSON Lines that carry all that is needed to verify them without the database (`verify_record.py` says how).

A heading (hospital, range, the hash before it, the keys with their vouchers), a line per entry with its record, seals where they stand, and a
last line with the count and the seal of the last entry. Nothing is signed for a file: its seals are those that the gateway made when it wrote the
record, so that a file made from a database that somebody changed does not verify.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.heads import Heads
from app.audit.records import Found, found_for, next_entries
from app.audit.seal import Seal, instant
from app.audit.store import load_keys
from app.errors import NotFound
from app.store import chain, tables
from app.store.chain import Entry
from app.store.database import Database

HOW = (
    "每行一条记录；用 verify_record.py（surgate audit verifier 可输出）核验，不需要数据库。"
    " / One record a line; verified without the database by verify_record.py, which `surgate audit verifier` prints."
)

MEDIA_TYPE = "application/x-ndjson"


class Range(NamedTuple):
    """Entries `first` to `last` of a hospital's chain, the hash before the first, and the seal of the last (None: it has none)."""

    hospital: str
    name: str
    first: int
    last: int
    before: bytes
    seal: Seal | None


class Piece(NamedTuple):
    """A part of the file: an entry with its record, or a seal (of the entry before it), or the heading or end alone as its line."""

    line: bytes
    entry: Entry | None = None
    found: Found | None = None


async def choose(connection: AsyncConnection, heads: Heads, hospital: str, since: str | None, until: str | None) -> Range:
    """What an export of a time holds: from its first entry on to the first seal that vouches for its last one, or to the head.

    Raises:
        NotFound: there is no such hospital, or nothing of that time in the database.
    """
    name = await hospital_name(connection, hospital)
    log = tables.chain
    mine = select(func.min(log.c.number), func.max(log.c.number)).where(
        log.c.hospital == hospital, log.c.number > await _archived(connection, hospital)
    )
    query = mine if since is None else mine.where(log.c.at >= since)
    first, last = (await connection.execute(query if until is None else query.where(log.c.at < until))).one()
    if first is None or first > last:
        raise NotFound("数据库中没有该时段的记录 / nothing of that time is in the database")
    whole = (await connection.execute(mine)).one()[1]
    seal = await _seal_from(connection, heads, hospital, last, whole)
    return Range(hospital, name, first, last if seal is None else seal.number, await hash_before(connection, hospital, first), seal)


async def pieces(database: Database, chosen: Range) -> AsyncIterator[Piece]:
    """The file, part by part. Entries never change, so that no transaction is held while somebody reads slowly."""
    async with database.read() as connection:
        yield Piece(await _heading(connection, chosen))
        sealed = await _daily_seals(connection, chosen)
    count, after = 0, chosen.first - 1
    while after < chosen.last:
        async with database.read() as connection:
            entries = await next_entries(connection, chosen.hospital, after, chosen.last)
            found = await found_for(connection, chosen.hospital, entries)
        if not entries:
            break
        for entry in entries:
            one = found.get((entry.kind, entry.ref))
            yield Piece(_entry_line(entry, one), entry, one)
            if entry.number in sealed:
                yield Piece(_line({"seal": sealed[entry.number]}))
        count, after = count + len(entries), entries[-1].number
    yield Piece(_line({"end": {"entries": count, "seal": chosen.seal}}))


async def hospital_name(connection: AsyncConnection, hospital: str) -> str:
    """A hospital's name. Raises `NotFound`."""
    table = tables.hospitals
    name = (await connection.execute(select(table.c.name).where(table.c.code == hospital))).scalar()
    if name is None:
        raise NotFound(f"没有医院 / no hospital {hospital}")
    return str(name)


def subject(chosen: Range, form: str) -> str:
    """What is kept of an export in the record of who read what."""
    return msgspec.json.encode({"format": form, "first": chosen.first, "last": chosen.last}).decode()


def seal_of(row: Any) -> Seal:
    """A seal from a row of the table."""
    return Seal(row.hospital, row.number, row.hash.hex(), row.at, row.key, row.signature.hex())


async def _heading(connection: AsyncConnection, chosen: Range) -> bytes:
    keys = [
        {
            "key": row.key,
            "public": row.public.hex(),
            "since": row.since,
            "introduced_by": row.introduced_by,
            "signature": None if row.signature is None else row.signature.hex(),
        }
        for row in await load_keys(connection)
    ]
    table = tables.archives
    archives = await connection.execute(
        select(table.c.first, table.c.last, table.c.file, table.c.sha256)
        .where(table.c.hospital == chosen.hospital, table.c.last < chosen.first)
        .order_by(table.c.first)
    )
    return _line(
        {
            "surgate_record": 1,
            "how": HOW,
            "hospital": {"code": chosen.hospital, "name": chosen.name},
            "first": chosen.first,
            "last": chosen.last,
            "before": chosen.before.hex(),
            "made_at": instant(),
            "keys": keys,
            "archived_before": [dict(row) for row in archives.mappings()],
        }
    )


def _entry_line(entry: Entry, found: Found | None) -> bytes:
    value = {"number": entry.number, "kind": entry.kind, "ref": entry.ref, "at": entry.at}
    return _line(value | {"digest": entry.digest.hex(), "hash": entry.hash.hex(), "record": None if found is None else found.form})


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"


async def _archived(connection: AsyncConnection, hospital: str) -> int:
    table = tables.archives
    return (await connection.execute(select(func.max(table.c.last)).where(table.c.hospital == hospital))).scalar() or 0


async def _seal_from(connection: AsyncConnection, heads: Heads, hospital: str, number: int, whole: int) -> Seal | None:
    """The first seal for that entry or a later one; the head where there is none yet."""
    table = tables.seals
    query = select(table).where(table.c.hospital == hospital, table.c.number >= number, table.c.number <= whole).order_by(table.c.number)
    row = (await connection.execute(query.limit(1))).first()
    if row is not None:
        return seal_of(row)
    head = heads.read(hospital)
    return head if head is not None and number <= head.number <= whole else None


async def hash_before(connection: AsyncConnection, hospital: str, first: int) -> bytes:
    """The hash of the entry before one: in the chain, at the end of an archive, or `GENESIS`."""
    log, archives = tables.chain, tables.archives
    archived = select(archives.c.hash).where(archives.c.hospital == hospital, archives.c.last == first - 1)
    chained = select(log.c.hash).where(log.c.hospital == hospital, log.c.number == first - 1)
    for query in (archived, chained):
        found = (await connection.execute(query)).scalar()
        if found is not None:
            return bytes(found)
    return chain.GENESIS


async def _daily_seals(connection: AsyncConnection, chosen: Range) -> dict[int, Seal]:
    """The last seal of each day within the range: enough to date the record, few enough to be checked by anybody."""
    table = tables.seals
    mine = (table.c.hospital == chosen.hospital, table.c.number >= chosen.first, table.c.number < chosen.last)
    newest = select(func.max(table.c.number)).where(*mine).group_by(func.substr(table.c.at, 1, 10))
    rows = await connection.execute(select(table).where(*mine, table.c.number.in_(newest)).order_by(table.c.at))
    return {row.number: seal_of(row) for row in rows}

"""Verification: is a hospital's record whole, and where not. It only reads, one consistent state, in batches.

Its limits are those of what is outside the database: entries after the last signed head that a reader knows of can be forged by whoever can write
there, which is why a head is signed after each commit, and why seals should be collected somewhere else (`docs/audit.md`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import archive_file
from app.audit.findings import MAX_FINDINGS, ChainHead, Findings, TrustedKey, Verification
from app.audit.heads import DamagedHead, Heads
from app.audit.records import BATCH, STAYS, digest_of, entries_between, found_for, plain, strangers, stray_terms
from app.audit.seal import Keyring, KeyRow, Seal, instant
from app.audit.walk import SealWalk, Walk
from app.store import chain, tables
from app.store.chain import Entry
from app.store.database import Database
from app.store.overrides import KEPT


class Outside(NamedTuple):
    """What is outside the database: heads and log of seals, archives, fingerprints that somebody holds as trusted."""

    heads: Heads
    archives: Path
    trusted: Collection[str] = ()


class _Parts(NamedTuple):
    connection: AsyncConnection
    findings: Findings
    walk: Walk
    seals: SealWalk
    archives: Path


async def verify(database: Database, outside: Outside, hospital: str) -> Verification:
    """Verify a hospital's record. Raises what the store raises where it cannot be read."""
    # What is outside is looked at first: what is committed meanwhile can only make the chain longer than it says.
    findings = Findings(hospital)
    head = _head(outside.heads, findings)
    log = outside.heads.logged(hospital, outside.heads.log_size(hospital))
    async with database.read() as connection:
        keyring = Keyring(await _keys(connection), outside.trusted)
        archives = await _archives(connection, hospital)
        walk = Walk(findings, 0, chain.GENESIS)
        seals = SealWalk(findings, keyring, head, log, alone=database.embedded)
        parts = _Parts(connection, findings, walk, seals, outside.archives)
        for key in keyring.doubtful:
            findings.add("key_not_vouched", ref=key)
        for archive in archives:
            await _archive(parts, archive)
        await _chain(parts)
        parts.seals.end(walk.number, await _seals(connection, hospital, walk.number, None))
        await _others(parts)
    _head_missing(parts, head)
    return _report(parts, keyring, archives)


async def hospitals_known(database: Database, heads: Heads) -> list[str]:
    """Every hospital of which there is anything: in the store, in its chain, or outside it."""
    async with database.read() as connection:
        codes = set((await connection.execute(select(tables.hospitals.c.code))).scalars())
        codes |= set((await connection.execute(select(tables.chain.c.hospital).distinct())).scalars())
    return sorted(codes | set(heads.hospitals()))


def _report(parts: _Parts, keyring: Keyring, archives: Sequence[Any]) -> Verification:
    findings, walk = parts.findings, parts.walk
    purged = max([a.last for a in archives if a.purged_at is not None], default=0)
    return Verification(
        hospital=findings.hospital,
        whole=not findings.listed,
        verified_at=instant(),
        entries=walk.entries,
        first=purged + 1 if walk.entries else None,
        last=walk.number if walk.entries else None,
        head=ChainHead(walk.number, walk.hash.hex()),
        sealed_until=parts.seals.sealed_until,
        seals=parts.seals.seals,
        archives=len(archives),
        purged_until=purged,
        keys=tuple([TrustedKey(row.key, row.since, row.key in keyring.positions) for row in keyring.rows]),
        findings=tuple(findings.listed),
        more=findings.more,
    )


def _head(heads: Heads, findings: Findings) -> Seal | None:
    try:
        return heads.read(findings.hospital)
    except DamagedHead:
        findings.add("head_damaged")
        return None


def _head_missing(parts: _Parts, head: Seal | None) -> None:
    damaged = any(finding.what == "head_damaged" for finding in parts.findings.listed)
    if head is None and parts.walk.number and not damaged:
        parts.findings.add("head_missing", parts.walk.number)


async def _chain(parts: _Parts) -> None:
    """The entries in the database, after those that were archived."""
    hospital = parts.findings.hospital
    async for entries in entries_between(parts.connection, hospital, parts.walk.number):
        for entry in entries:
            parts.walk.link(entry)
        await _records(parts, entries)
        await _hold_seals(parts, entries)


async def _records(parts: _Parts, entries: Sequence[Entry]) -> None:
    found = await found_for(parts.connection, parts.findings.hospital, entries)
    for entry in entries:
        one = found.get((entry.kind, entry.ref))
        if one is None:
            parts.walk.missing(entry)
        else:
            parts.walk.record(entry, digest_of(one), one.seq)


async def _hold_seals(parts: _Parts, entries: Sequence[Entry]) -> None:
    last = entries[-1].number
    kept = await _seals(parts.connection, parts.findings.hospital, parts.seals.held, last)
    parts.seals.hold(last, kept, {entry.number: entry.hash for entry in entries})


async def _archive(parts: _Parts, row: Any) -> None:
    """An archived segment: its file, and what of it stayed in the database."""
    if row.first != parts.walk.number + 1 or row.before != parts.walk.hash:
        parts.findings.add("archive_order", row.first, row.last)
    parts.walk.restart(row.first - 1, row.before)
    content = None if row.purged_at is not None else await _content(parts, row)
    if content is None:
        # What it held can't be looked at; the chain goes on from where it ended.
        parts.walk.restart(row.last, row.hash)
        parts.seals.hold(row.last, await _seals(parts.connection, parts.findings.hospital, parts.seals.held, row.last), {})
        return
    for entry, digest in content:
        parts.walk.link(entry)
        parts.walk.record(entry, digest)
    if (parts.walk.number, parts.walk.hash) != (row.last, row.hash):
        parts.findings.add("archive_changed", row.first, row.last, ref=row.file)
    await _stayed(parts, row, {entry.number: entry for entry, _ in content if entry.kind in STAYS})
    for begin in range(0, len(content), BATCH):
        await _hold_seals(parts, [entry for entry, _ in content[begin : begin + BATCH]])


async def _content(parts: _Parts, row: Any) -> list[tuple[Entry, bytes | None]] | None:
    path = parts.archives / Path(str(row.file)).name
    if not path.is_file():
        parts.findings.add("archive_missing", row.first, row.last, ref=row.file)
        return None
    try:
        sha256, content = await asyncio.to_thread(lambda: (archive_file.sha256_of(path), archive_file.read(path)))
    except archive_file.Damaged:
        sha256, content = "", None
    if sha256 != row.sha256:
        parts.findings.add("archive_changed", row.first, row.last, ref=row.file)
    return content or None


async def _stayed(parts: _Parts, row: Any, archived: dict[int, Entry]) -> None:
    """Entries and records of an archived segment that stay in the database must still be those of the archive."""
    async for entries in entries_between(parts.connection, parts.findings.hospital, row.first - 1, row.last):
        for entry in entries:
            if entry.number not in archived:
                parts.findings.add("entry_inserted", entry.number, kind=entry.kind, ref=entry.ref)
            elif archived.pop(entry.number) != entry:
                parts.findings.add("entry_changed", entry.number, kind=entry.kind, ref=entry.ref)
        await _records(parts, entries)
    for number in archived:
        parts.findings.add("entry_missing", number)


async def _others(parts: _Parts) -> None:
    """What is in no entry, and the state of overrides, which follows from their steps."""
    connection, findings = parts.connection, parts.findings
    for kind in chain.KINDS:
        for ref in await strangers(connection, findings.hospital, kind, MAX_FINDINGS):
            findings.add("record_inserted", kind=kind, ref=ref)
    for ref in await stray_terms(connection, findings.hospital, MAX_FINDINGS):
        findings.add("record_inserted", kind="decision_terms", ref=ref)
    last = ""
    table = tables.overrides
    while True:
        query = plain(table).where(table.c.hospital == findings.hospital, table.c.id > last).order_by(table.c.id).limit(BATCH)
        rows = (await connection.execute(query)).mappings().all()
        if not rows:
            break
        await _overrides(parts, rows)
        last = rows[-1]["id"]
    for ref in await _without_override(connection, findings.hospital):
        findings.add("record_missing", kind="override", ref=ref)


async def _overrides(parts: _Parts, rows: Sequence[Mapping[Any, Any]]) -> None:
    table = tables.override_steps
    query = plain(table).where(table.c.hospital == parts.findings.hospital, table.c.override_id.in_([row["id"] for row in rows]))
    steps: dict[str, list[Mapping[Any, Any]]] = {row["id"]: [] for row in rows}
    for step in (await parts.connection.execute(query.order_by(table.c.seq))).mappings():
        steps[step["override_id"]].append(step)
    for row in rows:
        if not _follows(row, steps[row["id"]]):
            parts.findings.add("override_changed", kind="override", ref=row["id"])


def _follows(row: Mapping[Any, Any], steps: Sequence[Mapping[Any, Any]]) -> bool:
    """Whether an override's row is what its steps make of it."""
    if not steps or steps[0]["action"] != "open":
        return False
    details = [_document(step["detail"]) for step in steps]
    kept = details[0] if isinstance(details[0], dict) else {}
    taken_over_by = [step["by"] for step in steps if step["action"] == "takeover"]
    reminded_at = [step["at"] for step in steps if step["action"] == "remind"]
    due = [detail["review_due_at"] for detail in details if isinstance(detail, dict) and "review_due_at" in detail]
    made = {name: kept.get(name) for name in KEPT} | {
        "review_due_at": due[-1] if due else None,
        "state": steps[-1]["state"],
        "reported": any(step["action"] == "report" for step in steps),
        "taken_over_by": taken_over_by[-1] if taken_over_by else None,
        "reminders": len(reminded_at),
        "reminded_at": reminded_at[-1] if reminded_at else None,
        "declared_by": steps[0]["by"],
        "at": steps[0]["at"],
    }
    return all((_document(row[name]) if isinstance(value, list) else row[name]) == value for name, value in made.items())


def _document(text: Any) -> Any:
    """A JSON document; None for what is none: somebody has written there."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, TypeError, UnicodeError):
        return None


async def _without_override(connection: AsyncConnection, hospital: str) -> list[str]:
    """Overrides that have steps, but no row."""
    steps, overrides = tables.override_steps, tables.overrides
    known = select(overrides.c.id).where(overrides.c.id == steps.c.override_id).exists()
    query = select(steps.c.override_id).distinct().where(steps.c.hospital == hospital, ~known).limit(MAX_FINDINGS)
    return [str(ref) for ref in (await connection.execute(query)).scalars()]


async def _keys(connection: AsyncConnection) -> list[KeyRow]:
    rows = await connection.execute(plain(tables.seal_keys).order_by(tables.seal_keys.c.position))
    return [KeyRow(str(r.key), _bytes(r.public), str(r.since), r.introduced_by, r.signature and _bytes(r.signature)) for r in rows]


async def _archives(connection: AsyncConnection, hospital: str) -> Sequence[Any]:
    table = tables.archives
    rows: Sequence[Any] = (await connection.execute(plain(table).where(table.c.hospital == hospital).order_by(table.c.first))).all()
    return rows


async def _seals(connection: AsyncConnection, hospital: str, after: int, until: int | None) -> list[Seal]:
    table = tables.seals
    query = plain(table).where(table.c.hospital == hospital, table.c.number > after).order_by(table.c.number)
    rows: Iterable[Any] = await connection.execute(query.limit(BATCH) if until is None else query.where(table.c.number <= until))
    return [Seal(hospital, r.number, _bytes(r.hash).hex(), str(r.at), str(r.key), _bytes(r.signature).hex()) for r in rows]


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else msgspec.json.encode(str(value))

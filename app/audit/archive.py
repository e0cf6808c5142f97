"""Retention: the oldest part of a hospital's record goes from the database into files, which are deleted when its retention has passed.

What leaves the database: decisions, what they are found by, reads, and their entries of the chain. Changes and the steps of overrides stay, with
their entries, since the matrix's history and the state of overrides are made of them; the archive holds them as well, so that it can be verified
by itself.
"""

from __future__ import annotations

import fcntl
import gzip
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Integer, cast, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit import archive_file, record_file, verify_record
from app.audit.record_file import Range
from app.audit.records import STAYS
from app.audit.store import Proven, load_keys
from app.errors import Conflict, NotFound
from app.store import changes, tables
from app.store.changes import Change
from app.store.database import Database
from app.store.hospitals import Settings as HospitalSettings
from app.store.hospitals import time_zone

MAX_ENTRIES = 10_000
"""Entries in one archive (more only where no seal stands among them): what one transaction deletes while checks wait for it."""

MIN_AGE_DAYS = 366
"""Nothing younger is archived. Until then a retried request is given its first answer and a case its history; no HIS retries after a year."""

RETENTION_YEARS = 15
"""How long the record is kept where the hospital says nothing."""

CLOSED = ("justified", "unjustified")
"""States of an override whose review has ended."""


class Archived(NamedTuple):
    """A segment that was archived, or an archive that was purged."""

    first: int
    last: int
    file: str


class _Cut(NamedTuple):
    range: Range
    newest: str


async def archive(store: Proven, folder: Path, hospital: str, before: date, by: str) -> list[Archived]:
    """Archive the oldest part of the record, up to the beginning of a day, in segments that each end with a seal.

    It stops before the decision of an override whose review has not ended. A file is on stable storage and verified before anything is deleted.

    Raises:
        NotFound: there is no such hospital.
        Conflict: the day is too recent, or the record of that time is not whole.
    """
    made = []
    with _alone(folder):
        async with store.database.read() as connection:
            await record_file.hospital_name(connection, hospital)
            begin = await _begin(connection, hospital, before)
            keys = [row.key for row in await load_keys(connection)]
        while (cut := await _next_cut(store, hospital, begin)) is not None:
            file = await _write(store.database, folder, cut.range)
            sha256 = _checked(folder / file, cut.range, keys)
            async with store.database.write(hospital) as connection:
                await _move(connection, cut, file, sha256, by)
            made.append(Archived(cut.range.first, cut.range.last, file))
    return made


async def purge(database: Database, folder: Path, hospital: str, by: str) -> list[Archived]:
    """Delete the archives whose newest record is past the hospital's retention, oldest first; each deletion is an entry of the chain.

    Raises `NotFound`.
    """
    made = []
    table = tables.archives
    with _alone(folder):
        async with database.write(hospital) as connection:
            limit = _years_before(datetime.now(UTC), await _retention_years(connection, hospital)).isoformat(timespec="microseconds")
            rows = (await connection.execute(select(table).where(table.c.hospital == hospital).order_by(table.c.first))).all()
            for row in rows:
                if row.newest >= limit:
                    break  # whole archives only, and none before an older one
                if row.purged_at is None:
                    await _note_purge(connection, row, by)
                    made.append(Archived(row.first, row.last, row.file))
        for row in rows:
            if row.newest >= limit:
                break
            (folder / Path(row.file).name).unlink(missing_ok=True)  # also one that a purge that was cut off has left
    return made


async def _next_cut(store: Proven, hospital: str, begin: str) -> _Cut | None:
    """The next segment: from the first entry that is not archived to the last seal within its size, before the limit."""
    log, seals, archives = tables.chain, tables.seals, tables.archives
    async with store.database.read() as connection:
        ended = (await connection.execute(select(func.max(archives.c.last)).where(archives.c.hospital == hospital))).scalar() or 0
        limit = await _limit(connection, hospital, ended, begin)
        sealed = select(seals.c.number).where(seals.c.hospital == hospital, seals.c.number > ended, seals.c.number <= limit)
        within = sealed.where(seals.c.number <= ended + MAX_ENTRIES).order_by(seals.c.number.desc())
        last = (await connection.execute(within.limit(1))).scalar()
        if last is None:
            last = (await connection.execute(sealed.order_by(seals.c.number).limit(1))).scalar()
        if last is None:
            return None
        seal = (await connection.execute(select(seals).where(seals.c.hospital == hospital, seals.c.number == last).limit(1))).one()
        newest = select(func.max(log.c.at)).where(log.c.hospital == hospital, log.c.number.between(ended + 1, last))
        name = await record_file.hospital_name(connection, hospital)
        before = await record_file.hash_before(connection, hospital, ended + 1)
        chosen = Range(hospital, name, ended + 1, last, before, record_file.seal_of(seal))
        return _Cut(chosen, (await connection.execute(newest)).scalar_one())


async def _limit(connection: AsyncConnection, hospital: str, after: int, begin: str) -> int:
    """The last entry that may be archived: all up to it are older, and no review of theirs is open."""
    log, overrides = tables.chain, tables.overrides
    first_kept = select(func.min(log.c.number)).where(log.c.hospital == hospital, log.c.number > after, log.c.at >= begin)
    open_review = (
        select(func.min(log.c.number))
        .join(overrides, overrides.c.decision_id == log.c.ref)
        .where(log.c.hospital == hospital, log.c.kind == "decision", overrides.c.hospital == hospital, overrides.c.state.not_in(CLOSED))
    )
    kept = [(await connection.execute(query)).scalar() for query in (first_kept, open_review)]
    last: int = (await connection.execute(select(func.max(log.c.number)).where(log.c.hospital == hospital))).scalar() or 0
    ends: list[int] = [last, *(number - 1 for number in kept if number is not None)]
    return min(ends)


async def _write(database: Database, folder: Path, chosen: Range) -> str:
    """Write the file of a segment, on stable storage when this returns; its name."""
    name = f"{chosen.hospital}-{chosen.first}-{chosen.last}.jsonl.gz"
    part = folder / f"{name}.part"
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        with gzip.GzipFile(filename="", fileobj=stream, mode="wb") as packed:
            async for piece in record_file.pieces(database, chosen):
                packed.write(piece.line)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(folder / name)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return name


def _checked(path: Path, chosen: Range, trusted: Collection[str]) -> str:
    """The SHA-256 of a file that was read again and found whole. Raises `Conflict`. `trusted`: every key that the store knows; which of them count
    is the question of a verification, and an archive can be verified as before."""
    result = verify_record.check(verify_record.open_lines(str(path)), trusted)
    if result.findings or result.entries != chosen.last - chosen.first + 1:
        path.unlink()
        places = ", ".join(f"#{finding.number} {finding.what}" for finding in result.findings[:5])
        raise Conflict(f"该段记录不完整，未归档；请先运行 surgate audit verify / the record is not whole, nothing was archived: {places}")
    return archive_file.sha256_of(path)


async def _move(connection: AsyncConnection, cut: _Cut, file: str, sha256: str, by: str) -> None:
    """Delete what the file holds and note where it is, in one transaction."""
    log = tables.chain
    hospital, first, last = cut.range.hospital, cut.range.first, cut.range.last
    mine = (log.c.hospital == hospital, log.c.number.between(first, last))
    end = (await connection.execute(select(log.c.hash).where(log.c.hospital == hospital, log.c.number == last))).scalar_one()
    decided = select(log.c.ref).where(*mine, log.c.kind == "decision")
    seen = select(cast(log.c.ref, Integer)).where(*mine, log.c.kind == "read")
    for statement in (
        delete(tables.decision_terms).where(tables.decision_terms.c.decision_id.in_(decided)),
        delete(tables.decisions).where(tables.decisions.c.id.in_(decided)),
        delete(tables.reads).where(tables.reads.c.seq.in_(seen)),
        delete(log).where(*mine, log.c.kind.not_in(STAYS)),
    ):
        await connection.execute(statement)
    row = {"hospital": hospital, "first": first, "last": last, "before": cut.range.before, "hash": end, "newest": cut.newest}
    now = datetime.now(UTC)
    row |= {"file": file, "sha256": sha256, "archived_at": now.isoformat(timespec="microseconds")}
    await connection.execute(tables.archives.insert().values(row))
    detail = {"first": first, "last": last, "sha256": sha256, "hash": end.hex()}
    await changes.append(connection, Change(hospital, by, "archive", file, "archive", people=(), detail=detail), now)


async def _note_purge(connection: AsyncConnection, row: Any, by: str) -> None:
    table = tables.archives
    now = datetime.now(UTC)
    mine = update(table).where(table.c.hospital == row.hospital, table.c.first == row.first)
    await connection.execute(mine.values(purged_at=now.isoformat(timespec="microseconds")))
    detail = {"first": row.first, "last": row.last, "sha256": row.sha256, "newest": row.newest}
    await changes.append(connection, Change(row.hospital, by, "archive", row.file, "purge", people=(), detail=detail), now)


async def _begin(connection: AsyncConnection, hospital: str, day: date) -> str:
    """The beginning of a day in the hospital's zone. Raises `Conflict` where it is too recent."""
    zone = await time_zone(connection, hospital)
    youngest = datetime.now(zone).date() - timedelta(days=MIN_AGE_DAYS)
    if day > youngest:
        raise Conflict(f"只能归档 {youngest} 之前的记录 / only what is older than {youngest} can be archived")
    return datetime.combine(day, time(), zone).astimezone(UTC).isoformat(timespec="microseconds")


async def _retention_years(connection: AsyncConnection, hospital: str) -> int:
    table = tables.hospitals
    settings = (await connection.execute(select(table.c.settings).where(table.c.code == hospital))).scalar()
    if settings is None:
        raise NotFound(f"没有医院 / no hospital {hospital}")
    years: int | None = msgspec.json.decode(settings, type=HospitalSettings).retention_years
    return RETENTION_YEARS if years is None else years


def _years_before(now: datetime, years: int) -> datetime:
    try:
        return now.replace(year=now.year - years)
    except ValueError:  # 29 February
        return now.replace(year=now.year - years, day=28)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time works in the folder of archives."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Conflict("另一进程正在归档 / another process is archiving") from None
    finally:
        os.close(descriptor)

"""The way of the journal's decisions into the database: in their order, each exactly once, by one worker of the node at a time.

What was committed is found by the decisions' ids, so whatever ends a drain anywhere costs a look, never a second record. While the rest is
brought over nobody appends, so that a drain ends also under load. That is after a batch that was committed while others appended: a database that can
be read may all the same commit nothing, for want of its standby or of its disk, and nobody is to wait for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from app.store.breaker import PROBE_SECONDS, Breaker, refuses
from app.store.database import AWAY, Database
from app.store.decided import NotRecorded, Record
from app.store.decisions import keep_journaled
from app.store.journal import LOCK_SECONDS, Journal, decode, refused_files, segments
from app.store.journal_file import PRIVATE_FILE, Damage, Frame, JournalFile, Kind, framed, sync_folder
from app.store.journal_lock import FolderLock
from app.store.reach import within
from app.telemetry.meters import Meters

BATCH = 256
"""Decisions in one transaction."""

WRITE_SECONDS = 20.0
"""How long one transaction may take; it is given up then, and the next try goes by another connection. On one that a network forgot nothing ever comes
back, and nobody else may drain meanwhile."""

REST_SECONDS = LOCK_SECONDS / 2
"""How long the rest may take while nobody may append."""

TRIES = 3
"""How often a decision is offered that the database refuses: another transaction may have been writing the same one."""

RECORD = ".record"
"""Ending of a refused decision's file; other files hold bytes that nobody can read."""

_AGAIN_SECONDS = 0.0005

_log = logging.getLogger("surgate.journal")


class Busy(Exception):
    """Another process is draining this journal."""


class Place(NamedTuple):
    """A place in the journal: the number of a file, and where in it."""

    number: int = 0
    offset: int = 0


class Batch(NamedTuple):
    """What is brought over at once: decisions, and by file name what cannot be read. `more`: there is more behind its `end`."""

    records: list[Record]
    unreadable: dict[str, bytes]
    end: Place
    more: bool


class Drain:
    """Drains the node's journal whenever something waits in it and the database can be asked."""

    def __init__(self, journal: Journal, database: Database, breaker: Breaker, meters: Meters | None = None) -> None:
        self._journal = journal
        self._database = database
        self._breaker = breaker
        self._meters = meters or Meters()
        self._duty = FolderLock(journal.folder / "drain.lock")
        self._lock = FolderLock(journal.folder / "lock")
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Begin to look after the journal."""
        self._task = asyncio.create_task(self._forever())

    async def stop(self) -> None:
        """Stop where it stands; the rest is drained by another worker, or after the next start."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=REST_SECONDS)
            self._task.cancel()  # one that hangs in the database; what it has committed is found by the ids
            await asyncio.wait({self._task})
        for lock in (self._duty, self._lock):
            lock.close()

    async def _forever(self) -> None:
        while not self._stopping.is_set():
            try:
                if await self._journal.holds() and self._breaker.closed:
                    await self.run()
            except Busy:
                pass  # another worker does it
            except (*AWAY, NotRecorded) as error:
                _log.warning("journal: not drained yet: %s", type(error).__name__)
            except Exception:  # noqa: BLE001 - a defect must not end the drain: the journal would grow for ever
                _log.exception("journal: not drained yet")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._stopping.wait()

    async def run(self) -> int:
        """Bring everything over; how many decisions came into the database.

        Raises:
            Busy: another process is at it.
            SQLAlchemyError, OSError, TimeoutError: the database is away again, or there is no room for what must be set aside.
        """
        if not self._duty.acquire(0):
            raise Busy
        try:
            count = await self._run()
        finally:
            self._duty.release()
        _log.warning("journal: drained, %d decisions", count)
        return count

    async def retry_refused(self) -> int:
        """Offer once more what the database has refused; how many decisions it took."""
        count = 0
        for path in await asyncio.to_thread(refused_files, self._journal.folder):
            if path.suffix != RECORD:
                continue
            record = await asyncio.to_thread(_refused_record, path)
            if await self._keep_one(record):
                await asyncio.to_thread(path.unlink)
                count += 1
        return count

    async def _run(self) -> int:
        place, done, count = Place(), list[Record](), 0
        commits = False
        while True:
            await self._locked()
            try:
                batch = await asyncio.to_thread(self._next, place, done)
                if not batch.more and (commits or not batch.records):
                    count += await within(REST_SECONDS, self._keep(batch))
                    await asyncio.to_thread(self._end, batch.records)
                    return count
            finally:
                self._lock.release()
            count += await self._keep(batch)
            place, done, commits = batch.end, batch.records, True

    async def _locked(self) -> None:
        async with asyncio.timeout(LOCK_SECONDS):
            while not self._lock.acquire(0):  # noqa: ASYNC110 - who holds it is another process
                await asyncio.sleep(_AGAIN_SECONDS)

    def _next(self, place: Place, done: Sequence[Record]) -> Batch:
        """The decisions behind a place. What was brought over before is remembered, and its files go. The lock must be held."""
        self._journal.remember(done)
        self._journal.remove_before(place.number)
        self._journal.catch_up()
        batch = Batch([], {}, place, more=False)
        for number, path in segments(self._journal.folder).items():
            file = JournalFile.open(path)
            try:
                batch = _read(file, Place(number, place.offset if number == place.number else 0), batch)
            finally:
                file.close()
            if batch.more:
                break
        return batch

    def _end(self, done: Sequence[Record]) -> None:
        self._journal.remember(done)
        self._journal.seal()
        self._journal.tell()

    async def _keep(self, batch: Batch) -> int:
        for name, content in batch.unreadable.items():
            _log.critical("journal: what cannot be read is set aside: %s", name)
            await asyncio.to_thread(self._set_aside, name, content)
        if not batch.records:
            return 0
        try:
            return await self._write(batch.records)
        except Exception as error:
            if not refuses(error):
                raise
        return sum([await self._keep_one(record) for record in batch.records])

    async def _keep_one(self, record: Record) -> bool:
        """Bring one over; False where the database refuses it for itself, and it was set aside."""
        for left in reversed(range(TRIES)):
            try:
                await self._write([record])
            except Exception as error:
                if not refuses(error):
                    raise
                if not left:
                    _log.critical("journal: the database refuses decision %s: %s; set aside", record.id, type(error).__name__)
                    content = framed(Kind.RECORD, msgspec.msgpack.encode(record))
                    await asyncio.to_thread(self._set_aside, f"{record.id}{RECORD}", content)
            else:
                return True
        return False

    async def _write(self, records: Sequence[Record]) -> int:
        written = await within(WRITE_SECONDS, self._transaction(records))
        self._meters.drained.add(written)
        return written

    async def _transaction(self, records: Sequence[Record]) -> int:
        async with self._database.write(None) as connection:
            return await keep_journaled(connection, records, self._journal.voids)

    def _set_aside(self, name: str, content: bytes) -> None:
        path = self._journal.refused / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(descriptor)
        sync_folder(path.parent)
        self._journal.tell()


def _read(file: JournalFile, place: Place, batch: Batch) -> Batch:
    """The batch with what a file adds to it."""
    for found in file.frames(place.offset):
        if isinstance(found, Frame) and found.kind is Kind.END:
            break
        if isinstance(found, Damage):
            batch.unreadable[f"{place.number:08}-{found.begin}.damaged"] = file.read(found.begin, found.end)
        elif found.kind is Kind.RECORD:
            try:
                batch.records.append(decode(found.content))
            except msgspec.DecodeError:
                batch.unreadable[f"{place.number:08}-{found.begin}.unreadable"] = found.content
        place = place._replace(offset=found.end)
        if len(batch.records) >= BATCH:
            return batch._replace(end=place, more=True)
    return batch._replace(end=place)


def _refused_record(path: Path) -> Record:
    file = JournalFile.open(path)
    try:
        found = file.frame(0)
    finally:
        file.close()
    assert isinstance(found, Frame), path
    return decode(found.content)

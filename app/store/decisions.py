"""The record of decisions: written in groups, read by case, by request and by filter.

One transaction carries every record that waits; it is committed before any of their answers leaves. What a check must first read (an earlier
answer under its request id, its case's history) is read for all that wait in one query each. Where the database does not answer, the journal of the
node takes its place (`store.journal`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import CaseHistory, PastDecision
from app.errors import StoreAway
from app.store import bulk, chain, locks, tables
from app.store.among import Among
from app.store.breaker import Breaker
from app.store.database import Database
from app.store.decided import Before, CaseTaken, Earlier, Judged, NotRecorded, Record, RequestKey, case_history
from app.store.fair_queue import FairQueue
from app.store.journal import Journal, Refused
from app.store.journal_index import Case, Found
from app.store.lane import Lane
from app.store.locks import Lock
from app.store.overrides import open_all
from app.telemetry.meters import Meters

_Waiting = TypeVar("_Waiting")
_Answer = TypeVar("_Answer")

_log = logging.getLogger("surgate.record")

MAX_GROUP = 256
"""Records in one transaction, and look-ups in one query."""

SLOWER_EACH_SECOND = 0.02
LONGEST_PAUSE_SECONDS = 0.25
"""While the journal is drained, groups that go into it are held apart, the longer it lasts the more: the journal takes decisions faster than the
database, and would never be empty under load."""


_D = tables.decisions.c
_REQUEST = (_D.hospital, _D.client, _D.request_id)
_CASE = (_D.hospital, _D.case_id)
_EARLIER = Among(_REQUEST, select(*_REQUEST, _D.content, _D.answer).where(_D.repeats.is_(None)))
_COUNTED = Among(_REQUEST, select(*_REQUEST, _D.content, _D.answer).where(_D.repeats == _D.id))
_FIRSTS = Among(_REQUEST, select(*_REQUEST, _D.id).where(_D.repeats.is_(None)))
_THERE = Among((_D.id,), select(_D.id))
_CASES = Among(_CASE, select(*_CASE, _D.seq, _D.id, _D.at, _D.patient_id, _D.past), order=_D.seq)
_WRITE_SOMETHING = text("SELECT pg_logical_emit_message(true, 'surgate', 'drained')")
_OWNERS = Among(_CASE, select(*_CASE, _D.seq, _D.patient_id), order=_D.seq)


class Ledger:
    """The group-commit writer and reader of one worker. `start` it before use and `stop` it at the end: what waits is then written.

    A group that the database does not take in time goes to the journal, and so does every one after it until the journal is drained.
    """

    def __init__(self, database: Database, journal: Journal, breaker: Breaker, meters: Meters | None = None) -> None:
        self._journal = journal
        self._breaker = breaker
        self._meters = meters or Meters()
        self._records: FairQueue[tuple[Record, asyncio.Future[Earlier | None]]] = FairQueue(lambda waiting: waiting[0].key.hospital)
        self._lookups: FairQueue[tuple[RequestKey, str, asyncio.Future[Before]]] = FairQueue(lambda waiting: waiting[0].hospital)
        self._writing, self._reading = Lane(database, "surgate-write", writes=True), Lane(database, "surgate-read", writes=False)
        self._tasks: list[asyncio.Task[None]] = []
        self._draining_since: float | None = None

    def start(self) -> None:
        """Begin to write and to read."""
        self._writing.start()
        self._reading.start()
        self._tasks = [asyncio.create_task(self._write_forever()), asyncio.create_task(self._read_forever())]

    async def stop(self) -> None:
        """Write what waits, then stop. Nothing may be handed in after this is called."""
        self._lookups.put_nowait(None)
        self._records.put_nowait(None)
        await asyncio.gather(*self._tasks)
        await self._reading.stop()
        await self._writing.stop()

    @property
    def waiting(self) -> int:
        """Records that wait to be kept."""
        return self._records.qsize()

    async def before(self, key: RequestKey, case_id: str) -> Before:
        """What is known of the request and of the case. Raises `NotRecorded` where neither the database nor the journal can be read."""
        future: asyncio.Future[Before] = asyncio.get_running_loop().create_future()
        self._lookups.put_nowait((key, case_id, future))
        return await future

    async def record(self, record: Record) -> Earlier | None:
        """Keep a decision. None: it is on stable storage. Otherwise the same request was recorded meanwhile, and this is its answer.

        Raises:
            NotRecorded: it could not be kept, neither in the database nor in the journal.
            CaseTaken: it was judged as the first of a case that another patient's document has begun meanwhile.
        """
        future: asyncio.Future[Earlier | None] = asyncio.get_running_loop().create_future()
        self._records.put_nowait((record, future))
        return await future

    async def _write_forever(self) -> None:
        while group := await _group(self._records):
            try:
                clashes = await self._keep([record for record, _ in group])
            except Exception as error:  # noqa: BLE001 - whatever it is, who waits is told, and the next group is written
                _fail([future for _, future in group], error)
                continue
            for record, future in group:
                clash = clashes.get(record.id)
                if future.done():
                    continue
                if isinstance(clash, Exception):
                    future.set_exception(clash)
                else:
                    future.set_result(clash)
            if (pause := self._pause()) > 0.0:
                await asyncio.sleep(pause)

    def _pause(self) -> float:
        """How long the next group is to wait, in seconds."""
        if not self._breaker.closed or not self._journal.waiting:
            self._draining_since = None
            return 0.0
        now = time.monotonic()
        self._draining_since = self._draining_since or now
        return min(LONGEST_PAUSE_SECONDS, SLOWER_EACH_SECOND * (now - self._draining_since))

    async def _keep(self, records: Sequence[Record]) -> Mapping[str, Refused]:
        """Keep a group in the database, or else in the journal. By record id: why one was not kept."""
        doubtful = False
        if self._breaker.closed and not await self._journal.holds():
            commit = _Commit(records)
            try:
                with self._meters.commit(len(records), self._records.qsize):
                    clashes = await self._breaker.reach(partial(self._writing.run, commit.run))
            except Exception as error:  # noqa: BLE001 - whatever keeps it out of the database, it goes to the journal, and the drain tells more
                commit.abandoned = doubtful = True
                _log.warning("%d decisions are put into the journal: %s", len(records), type(error).__name__)
            else:
                return clashes | await self._journal.note([record for record in records if record.id not in clashes])
        return await self._journal.append(records, doubtful=doubtful)

    async def _read_forever(self) -> None:
        while group := await _group(self._lookups):
            try:
                known = await self._look_up({key for key, _, _ in group}, {(key.hospital, case_id) for key, case_id, _ in group})
            except Exception as error:  # noqa: BLE001 - whatever it is, who waits is told, and the next group is read
                _fail([future for _, _, future in group], error)
                continue
            for key, case_id, future in group:
                if not future.done():
                    future.set_result(known.before(key, (key.hospital, case_id)))

    async def _look_up(self, keys: set[RequestKey], cases: set[Case]) -> _Known:
        # The journal first: what is brought from it into the database between the two is found twice, and not never.
        found = await self._journal.find(keys, cases, recent=not self._breaker.closed)
        try:
            return await self._breaker.reach(partial(self._reading.run, partial(_read, sorted(keys), cases, found)))
        except StoreAway:
            found = await self._journal.find(keys, cases, recent=True)
            return _Known({key: kept.earlier for key, kept in found.earlier.items()}, _histories_of(found.recent, found), complete=False)


class _Known(NamedTuple):
    """What is known of the requests and cases of a group. `complete`: the database was read."""

    earlier: Mapping[RequestKey, Earlier]
    histories: Mapping[Case, CaseHistory]
    complete: bool

    def before(self, key: RequestKey, case: Case) -> Before:
        return Before(self.earlier.get(key), self.histories.get(case), self.complete)


class _Abandoned(Exception):
    """The group went to the journal meanwhile: its transaction is rolled back."""


class _Commit:
    """One group's transaction. It may hang for as long as it likes: when it was `abandoned` it is rolled back, unless the commit itself was under way."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self.abandoned = False

    async def run(self, database: Database) -> dict[str, Refused]:
        """The transaction."""
        async with database.write(None) as connection:
            clashes = await _write(connection, self._records)
            if self.abandoned:
                raise _Abandoned
        return clashes


async def _read(keys: Sequence[RequestKey], cases: set[Case], found: Found, database: Database) -> _Known:
    async with database.read() as connection:
        earlier = await _earlier(connection, keys)
        recorded = await _of_cases(connection, cases)
    return _Known(earlier | {key: kept.earlier for key, kept in found.earlier.items()}, _histories_of(recorded, found), complete=True)


def _histories_of(recorded: Mapping[Case, Sequence[Judged]], found: Found) -> dict[Case, CaseHistory]:
    made = {}
    for case in {*recorded, *found.journaled}:
        history = case_history(recorded.get(case, ()), found.journaled.get(case, ()))
        if history is not None:
            made[case] = history
    return made


async def _group(queue: asyncio.Queue[_Waiting | None]) -> list[_Waiting]:
    """Everything that waits, at least one; never more than `MAX_GROUP`. Empty: it is to stop."""
    first = await queue.get()
    group = [] if first is None else [first]
    while group and len(group) < MAX_GROUP and not queue.empty():
        waiting = queue.get_nowait()
        if waiting is None:
            queue.put_nowait(None)
            break
        group.append(waiting)
    return group


def _fail(futures: Sequence[asyncio.Future[_Answer]], error: Exception) -> None:
    # The type alone: the text of an error may hold what a document says of a patient.
    _log.error("%d checks could not be recorded or looked up: %s", len(futures), type(error).__name__)
    for future in futures:
        if not future.done():
            future.set_exception(NotRecorded(f"{type(error).__name__}"))


async def _write(connection: AsyncConnection, group: Sequence[Record]) -> dict[str, Refused]:
    """Insert a group. By record id: the answer that was there before under the same request, or that its case is taken."""
    # Until the end nobody else records anything of these hospitals: what is looked up here is still so when it is written.
    await locks.take(connection, Lock.CHAIN, {record.key.hospital for record in group})
    first: dict[RequestKey, Record] = {}
    for record in group:
        first.setdefault(record.key, record)
    earlier = await _earlier(connection, list(first))
    fresh = [record for key, record in first.items() if key not in earlier]
    taken = await _taken(connection, fresh)
    fresh = [record for record in fresh if record.id not in taken]
    if fresh:
        await _insert(connection, fresh)
    written = {record.id for record in fresh}
    known = earlier | {record.key: Earlier(record.content, record.answer) for record in fresh}
    return {record.id: known.get(record.key) or CaseTaken() for record in group if record.id not in written}


async def keep_journaled(connection: AsyncConnection, records: Sequence[Record], voids: Callable[[str], bool]) -> int:
    """Insert what the journal held, each exactly once; how many were not there yet.

    A request that was decided elsewhere meanwhile is kept too, as a repetition of the first. `voids` tells of a decision's id that nobody was
    answered on it, but on the journal's under the same request: then this one counts from now on.
    """
    await locks.take(connection, Lock.CHAIN, {record.key.hospital for record in records})
    there = set((await _THERE.ask(connection, [(record.id,) for record in records])).scalars())
    fresh = [record for record in records if record.id not in there]
    firsts = await _firsts(connection, list({record.key for record in fresh}))
    kept = []
    for record in fresh:
        first = firsts.setdefault(record.key, record.id)
        repeats = None if first == record.id else record.id if voids(first) else first
        kept.append(record._replace(repeats=repeats))
    if kept:
        await _insert(connection, kept)
    elif records and connection.dialect.name == "postgresql":
        # A commit that was cancelled while it waited for the standby is seen here all the same. A transaction that wrote waits for what was before it.
        await connection.execute(_WRITE_SOMETHING)
    return len(kept)


async def _firsts(connection: AsyncConnection, keys: Sequence[RequestKey]) -> dict[RequestKey, str]:
    """The ids of the first decisions under requests."""
    found = await _FIRSTS.ask(connection, keys)
    return {RequestKey(r.hospital, r.client, r.request_id): r.id for r in found}


async def _insert(connection: AsyncConnection, fresh: Sequence[Record]) -> None:
    rows = {record.id: _row(record) for record in fresh}
    await bulk.insert(connection, tables.decisions, list(rows.values()))
    await bulk.insert(connection, tables.decision_terms, [row for record in fresh for row in _term_rows(record)])
    for hospital in dict.fromkeys(record.key.hospital for record in fresh):
        mine = [record for record in fresh if record.key.hospital == hospital]
        await chain.append(connection, hospital, [_link(record, rows[record.id]) for record in mine])
        await open_all(connection, hospital, [record.opening for record in mine if record.opening is not None])


async def _taken(connection: AsyncConnection, fresh: Sequence[Record]) -> set[str]:
    """The ids of records that were judged as the first of a case which is another patient's by now."""
    new = [record for record in fresh if record.new_case]
    owners = await _owners(connection, {(record.key.hospital, record.case_id) for record in new}) if new else {}
    taken = set()
    for record in new:
        if owners.setdefault((record.key.hospital, record.case_id), record.patient_id) != record.patient_id:
            taken.add(record.id)
    return taken


async def _owners(connection: AsyncConnection, cases: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The patient of each case that there is: that of its first decision."""
    owners: dict[tuple[str, str], str] = {}
    for row in await _OWNERS.ask(connection, cases):
        owners.setdefault((row.hospital, row.case_id), row.patient_id)
    return owners


async def _earlier(connection: AsyncConnection, keys: Sequence[RequestKey]) -> dict[RequestKey, Earlier]:
    found = _answers(await _EARLIER.ask(connection, keys))
    # Seldom: the request is a retry. More seldom: nobody was answered on the first, and another one counts.
    return found | _answers(await _COUNTED.ask(connection, list(found))) if found else found


def _answers(rows: Iterable[Row[Any]]) -> dict[RequestKey, Earlier]:
    return {RequestKey(row.hospital, row.client, row.request_id): Earlier(row.content, row.answer) for row in rows}


async def _of_cases(connection: AsyncConnection, cases: set[Case]) -> dict[Case, list[Judged]]:
    """The decisions of each case, oldest first."""
    made: dict[Case, list[Judged]] = defaultdict(list)
    for row in await _CASES.ask(connection, cases):
        past = msgspec.json.decode(row.past, type=PastDecision)
        made[row.hospital, row.case_id].append(Judged(row.id, row.at, row.patient_id, past))
    return made


def _row(record: Record) -> dict[str, object]:
    hospital, client, request_id = record.key
    return {
        "id": record.id,
        "hospital": hospital,
        "client": client,
        "request_id": request_id,
        "content": record.content,
        "at": record.at,
        "day": record.day,
        "checkpoint": record.checkpoint,
        "case_id": record.case_id,
        "patient_id": record.patient_id,
        "decision": record.decision,
        "matrix_version": record.matrix_version,
        "engine_version": record.engine_version,
        "policy_version": record.policy_version,
        "key_id": record.key_id,
        "order": record.order,
        "answer": record.answer,
        "past": msgspec.json.encode(record.past),
        "repeats": record.repeats,
    }


def _link(record: Record, row: dict[str, object]) -> chain.Link:
    return chain.Link("decision", record.id, record.at, chain.form_of(tables.decisions, row, record.terms))


def _term_rows(record: Record) -> list[dict[str, object]]:
    return [
        {"hospital": record.key.hospital, "kind": kind, "value": value, "decision_id": record.id, "at": record.at}
        for kind, value in record.terms
    ]

"""The record of decisions: written in groups, read by case, by request and by filter.

One transaction carries every record that waits; it is committed before any of their answers leaves. What a check must first read (an earlier
answer under its request id, its case's history) is read for all that wait in one query each.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import CaseHistory, PastDecision
from app.errors import Overloaded
from app.store import bulk, chain, locks, tables
from app.store.among import among
from app.store.database import Database
from app.store.locks import Lock
from app.store.overrides import Opening, open_all
from app.telemetry.meters import Meters

_Waiting = TypeVar("_Waiting")
_Answer = TypeVar("_Answer")

_log = logging.getLogger("surgate.record")

MAX_GROUP = 256
"""Records in one transaction, and look-ups in one query."""


class NotRecorded(Overloaded):
    """The record cannot be written anywhere: the check is not answered."""


class CaseTaken(Exception):
    """The case's first decision was recorded meanwhile, for another patient: what was judged did not see it. To be judged again."""


class RequestKey(NamedTuple):
    """What makes a request the same request."""

    hospital: str
    client: str
    request_id: str


class Earlier(NamedTuple):
    """An earlier answer under the same request id, and the hash of what was asked."""

    content: bytes
    answer: bytes


class Record(NamedTuple):
    """One decision, as it is kept. `terms` are what it can be found by: (kind, value); `new_case`: it was judged as the first of its case;
    `opening`: the override that is opened with it."""

    id: str
    key: RequestKey
    content: bytes
    at: str
    day: str
    checkpoint: str
    case_id: str
    patient_id: str
    decision: str
    matrix_version: int | None
    engine_version: str
    policy_version: str
    key_id: str
    order: bytes
    answer: bytes
    past: PastDecision
    terms: tuple[tuple[str, str], ...]
    new_case: bool = False
    opening: Opening | None = None


class Before(NamedTuple):
    """What a check must know before it judges: an earlier answer, or the case so far."""

    earlier: Earlier | None
    history: CaseHistory | None


class Ledger:
    """The group-commit writer and reader of one worker. `start` it before use and `stop` it at the end: what waits is then written."""

    def __init__(self, database: Database, meters: Meters | None = None) -> None:
        self._database = database
        self._meters = meters or Meters()
        self._records: asyncio.Queue[tuple[Record, asyncio.Future[Earlier | None]] | None] = asyncio.Queue()
        self._lookups: asyncio.Queue[tuple[RequestKey, str, asyncio.Future[Before]] | None] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to write and to read."""
        self._tasks = [asyncio.create_task(self._write_forever()), asyncio.create_task(self._read_forever())]

    async def stop(self) -> None:
        """Write what waits, then stop. Nothing may be handed in after this is called."""
        self._lookups.put_nowait(None)
        self._records.put_nowait(None)
        await asyncio.gather(*self._tasks)

    @property
    def waiting(self) -> int:
        """Records that wait for their transaction."""
        return self._records.qsize()

    async def before(self, key: RequestKey, case_id: str) -> Before:
        """What is known of the request and of the case. Raises `NotRecorded` where the store cannot be read."""
        future: asyncio.Future[Before] = asyncio.get_running_loop().create_future()
        self._lookups.put_nowait((key, case_id, future))
        return await future

    async def record(self, record: Record) -> Earlier | None:
        """Keep a decision. None: it is on stable storage. Otherwise the same request was recorded meanwhile, and this is its answer.

        Raises:
            NotRecorded: it could not be kept.
            CaseTaken: it was judged as the first of a case that another patient's document has begun meanwhile.
        """
        future: asyncio.Future[Earlier | None] = asyncio.get_running_loop().create_future()
        self._records.put_nowait((record, future))
        return await future

    async def _write_forever(self) -> None:
        while group := await _group(self._records):
            try:
                with self._meters.commit(len(group), self._records.qsize):
                    async with self._database.write(None) as connection:
                        clashes = await _write(connection, [record for record, _ in group])
            except Exception as error:  # noqa: BLE001 - whatever it is, who waits is told, and the next group is written
                _fail([future for _, future in group], error)
                continue
            for record, future in group:
                clash = clashes.get(record.id)
                if future.done():
                    continue
                if isinstance(clash, CaseTaken):
                    future.set_exception(clash)
                else:
                    future.set_result(clash)

    async def _read_forever(self) -> None:
        while group := await _group(self._lookups):
            try:
                async with self._database.read() as connection:
                    earlier = await _earlier(connection, [key for key, _, _ in group])
                    histories = await _histories(connection, {(key.hospital, case_id) for key, case_id, _ in group})
            except Exception as error:  # noqa: BLE001 - whatever it is, who waits is told, and the next group is read
                _fail([future for _, _, future in group], error)
                continue
            for key, case_id, future in group:
                if not future.done():
                    future.set_result(Before(earlier.get(key), histories.get((key.hospital, case_id))))


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


async def _write(connection: AsyncConnection, group: Sequence[Record]) -> dict[str, Earlier | CaseTaken]:
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


async def _insert(connection: AsyncConnection, fresh: Sequence[Record]) -> None:
    await bulk.insert(connection, tables.decisions, [_row(record) for record in fresh])
    await bulk.insert(connection, tables.decision_terms, [row for record in fresh for row in _term_rows(record)])
    for hospital in dict.fromkeys(record.key.hospital for record in fresh):
        mine = [record for record in fresh if record.key.hospital == hospital]
        await chain.append(connection, hospital, [_link(record) for record in mine])
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
    """The patient of each case: that of its first decision."""
    table = tables.decisions
    firsts = select(func.min(table.c.seq)).where(among(connection, (table.c.hospital, table.c.case_id), sorted(cases)))
    firsts = firsts.group_by(table.c.hospital, table.c.case_id)
    found = await connection.execute(select(table.c.hospital, table.c.case_id, table.c.patient_id).where(table.c.seq.in_(firsts)))
    return {(row.hospital, row.case_id): row.patient_id for row in found}


async def _earlier(connection: AsyncConnection, keys: Sequence[RequestKey]) -> dict[RequestKey, Earlier]:
    table = tables.decisions
    found = await connection.execute(
        select(table.c.hospital, table.c.client, table.c.request_id, table.c.content, table.c.answer).where(
            among(connection, (table.c.hospital, table.c.client, table.c.request_id), keys)
        )
    )
    return {RequestKey(r.hospital, r.client, r.request_id): Earlier(r.content, r.answer) for r in found}


async def _histories(connection: AsyncConnection, cases: set[tuple[str, str]]) -> dict[tuple[str, str], CaseHistory]:
    """The cases so far. A case stays with its first patient: what an emergency brought under its id for another one is not the case's."""
    table = tables.decisions
    found = await connection.execute(
        select(table.c.hospital, table.c.case_id, table.c.patient_id, table.c.past)
        .where(among(connection, (table.c.hospital, table.c.case_id), sorted(cases)))
        .order_by(table.c.seq)
    )
    made: dict[tuple[str, str], list[tuple[str, bytes]]] = defaultdict(list)
    for row in found:
        made[row.hospital, row.case_id].append((row.patient_id, row.past))
    histories = {}
    for case, rows in made.items():
        patient = rows[0][0]
        decisions = tuple(msgspec.json.decode(past, type=PastDecision) for owner, past in rows if owner == patient)
        histories[case] = CaseHistory(patient, decisions)
    return histories


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
    }


def _link(record: Record) -> chain.Link:
    return chain.Link("decision", record.id, record.at, chain.form_of(tables.decisions, _row(record), record.terms))


def _term_rows(record: Record) -> list[dict[str, object]]:
    return [
        {"hospital": record.key.hospital, "kind": kind, "value": value, "decision_id": record.id, "at": record.at}
        for kind, value in record.terms
    ]

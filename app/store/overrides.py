"""Overrides as they are kept: the override with its state now, and each step of its life with who, when and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, LargeBinary, Row, and_, case, func, literal, or_, select, true, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.overrides.life import CLOSED, OPEN, REMIND, OverrideAction, OverrideState
from app.store import chain, outbox, tables
from app.store.holds import Holds

_table = tables.overrides
_STILL_OPEN = tuple(state.value for state in OverrideState if state not in CLOSED)
_DOCUMENTS = ("flags", "participants", "operators", "codes")


class Opening(NamedTuple):
    """An override at its beginning, opened with the decision that it belongs to. Instants are RFC 3339 in UTC.

    `participants`: the staff numbers of all who took part, none of whom reviews it; `operators` and `codes`: who was let through, for what;
    `patterns`: the facts behind those flags that the record raised.
    """

    id: str
    decision_id: str
    case_id: str
    at: str
    day: str
    hour: int
    department: str
    declared_by: str
    reason_code: str
    reason: str
    reported_to: str
    reported_at: str | None
    late: bool
    review_due_at: str
    flags: tuple[str, ...]
    participants: tuple[str, ...]
    operators: tuple[str, ...]
    codes: tuple[str, ...]
    key_id: str
    patterns: Any = None
    notices: tuple[outbox.Notice, ...] = ()


class Step(NamedTuple):
    """One step. `at`: when it was done, as told; `recorded_at`: when it came in."""

    override_id: str
    action: str
    state: str
    by: str
    at: str
    recorded_at: str
    key_id: str = ""
    to: str = ""
    note: str = ""
    detail: Any = None


class Stored(NamedTuple):
    """An override as it stands. Instants are RFC 3339 in UTC."""

    id: str
    hospital: str
    decision_id: str
    case_id: str
    at: str
    day: str
    hour: int
    department: str
    declared_by: str
    reason_code: str
    reason: str
    state: OverrideState
    reported: bool
    taken_over_by: str | None
    late: bool
    review_due_at: str
    flags: tuple[str, ...]
    participants: tuple[str, ...]
    operators: tuple[str, ...]
    codes: tuple[str, ...]
    reminders: int
    reminded_at: str | None

    def overdue(self, now: str) -> bool:
        """Whether its review should be closed by now and is not."""
        return self.state not in CLOSED and self.review_due_at < now


class Filters(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a list of overrides is narrowed to. `operator`: one who was let through; `since` is included, `until` is not; both RFC 3339 in UTC."""

    state: str | None = None
    overdue: bool | None = None
    late: bool | None = None
    department: str | None = None
    operator: str | None = None
    case_id: str | None = None
    flag: str | None = None
    since: str | None = None
    until: str | None = None


class Waiting(NamedTuple):
    """How many overrides of a hospital are in a state that is not closed, and how many of their reviews are overdue."""

    hospital: str
    state: str
    waiting: int
    overdue: int


KEPT = (
    "decision_id",
    "case_id",
    "day",
    "hour",
    "department",
    "reason_code",
    "reason",
    "late",
    "review_due_at",
    "flags",
    "participants",
    "operators",
    "codes",
)
"""Columns of an override that its opening step keeps in its detail. They stay as they are, but for the due time of a review that is opened again."""


async def open_all(connection: AsyncConnection, hospital: str, openings: Sequence[Opening]) -> None:
    """Open overrides within the transaction that records their decisions, after these."""
    for opening in openings:
        await connection.execute(tables.overrides.insert().values(_row(hospital, opening)))
        steps = [
            Step(
                opening.id,
                OPEN,
                OverrideState.PENDING_REPORT,
                opening.declared_by,
                opening.at,
                opening.at,
                opening.key_id,
                detail=_kept(opening) | {"patterns": opening.patterns},
            )
        ]
        if opening.reported_at is not None:
            steps.append(
                Step(
                    opening.id,
                    OverrideAction.REPORT,
                    OverrideState.REPORTED,
                    opening.declared_by,
                    opening.reported_at,
                    opening.at,
                    opening.key_id,
                    opening.reported_to,
                )
            )
        for step in steps:
            await add_step(connection, hospital, step)
        await outbox.enqueue(connection, hospital, opening.id, opening.notices, opening.at)


async def add_step(connection: AsyncConnection, hospital: str, step: Step) -> None:
    """Keep a step, and append it to the chain."""
    row: dict[str, Any] = {"hospital": hospital} | step._asdict()
    row |= {"action": str(step.action), "state": str(step.state), "detail": msgspec.json.encode(step.detail)}
    made = (await connection.execute(tables.override_steps.insert().values(row))).inserted_primary_key
    assert made is not None
    link = chain.Link("override", str(made[0]), step.recorded_at, chain.form_of(tables.override_steps, row))
    await chain.append(connection, hospital, [link])


async def take_step(
    connection: AsyncConnection, one: Stored, step: Step, changed: Mapping[str, Any], notices: Sequence[outbox.Notice]
) -> None:
    """Keep a step with what it changes of its override and whom it is told. The transaction must be one that writes, and `one` read in it."""
    await add_step(connection, one.hospital, step)
    await connection.execute(update(_table).where(_table.c.id == one.id).values(state=str(step.state), **changed))
    await outbox.enqueue(connection, one.hospital, one.id, notices, step.recorded_at)


async def find(connection: AsyncConnection, hospital: str, override_id: str) -> Stored | None:
    """An override by its id; None where the hospital has none of it."""
    row = (await connection.execute(_all().where(_table.c.hospital == hospital, _table.c.id == override_id))).first()
    return None if row is None else _stored(row)


async def newest(
    connection: AsyncConnection, hospital: str, filters: Filters, now: str, after: tuple[str, str] | None, limit: int
) -> list[Stored]:
    """Overrides, newest first. `after`: time and id of the last one on the page before."""
    query = _all().where(_table.c.hospital == hospital, *_conditions(filters, now))
    if after is not None:
        query = query.where(tuple_(_table.c.at, _table.c.id) < tuple_(*after))
    rows = await connection.execute(query.order_by(_table.c.at.desc(), _table.c.id.desc()).limit(limit))
    return [_stored(row) for row in rows]


async def of_case(connection: AsyncConnection, hospital: str, case_id: str) -> list[Stored]:
    """The overrides of a case, oldest first."""
    query = _all().where(_table.c.hospital == hospital, _table.c.case_id == case_id)
    return [_stored(row) for row in await connection.execute(query.order_by(_table.c.at, _table.c.id))]


async def steps_of(connection: AsyncConnection, one: Stored) -> list[Step]:
    """Every step of an override, in the order in which they were recorded."""
    table = tables.override_steps
    query = select(*(table.c[name] for name in Step._fields)).where(table.c.hospital == one.hospital, table.c.override_id == one.id)
    rows = await connection.execute(query.order_by(table.c.seq))
    return [Step(**{**row._mapping, "detail": msgspec.json.decode(row.detail)}) for row in rows]


async def documents_of(connection: AsyncConnection, hospital: str, case_id: str) -> list[bytes]:
    """The orders of every document of a case, at whatever checkpoint, as they were received."""
    table = tables.decisions
    query = select(table.c.order).where(table.c.hospital == hospital, table.c.case_id == case_id)
    return list((await connection.execute(query.order_by(table.c.seq))).scalars())


async def order_of(connection: AsyncConnection, one: Stored) -> bytes:
    """The order that was let through, as it was received."""
    table = tables.decisions
    found = await connection.execute(select(table.c.order).where(table.c.hospital == one.hospital, table.c.id == one.decision_id))
    body: bytes = found.scalar_one()
    return body


async def waiting(connection: AsyncConnection, now: str, hospital: str | None = None) -> list[Waiting]:
    """Per hospital, or of one, and state: the overrides that are not closed."""
    overdue = func.sum(case((_table.c.review_due_at < now, 1), else_=0))
    query = select(_table.c.hospital, _table.c.state, func.count(), overdue).where(_table.c.state.in_(_STILL_OPEN))
    if hospital is not None:
        query = query.where(_table.c.hospital == hospital)
    rows = await connection.execute(query.group_by(_table.c.hospital, _table.c.state))
    return [Waiting(row[0], row[1], row[2], int(row[3])) for row in rows]


async def to_remind(connection: AsyncConnection, now: str, unreported_since: str, again_since: str, limit: int) -> list[Stored]:
    """Overrides of which the office is to be reminded, those that wait longest first: without a report although opened before `unreported_since`,
    or with an overdue review. Each when that came to pass, then again when the last time was before `again_since`."""
    reminded = _table.c.reminded_at
    unreported = and_(_table.c.reported.is_(False), _table.c.at < unreported_since, or_(reminded.is_(None), reminded < again_since))
    due = _table.c.review_due_at
    overdue = and_(due < now, or_(reminded.is_(None), reminded < due, reminded < again_since))
    query = _all().where(_table.c.state.in_(_STILL_OPEN), or_(unreported, overdue)).order_by(_table.c.at, _table.c.id).limit(limit)
    return [_stored(row) for row in await connection.execute(query)]


async def remind(connection: AsyncConnection, one: Stored, now: str, because: Sequence[str], notices: Sequence[outbox.Notice]) -> None:
    """Keep that the office was reminded, and why."""
    step = Step(one.id, REMIND, one.state, "", now, now, detail={"because": because})
    await take_step(connection, one, step, {"reminders": one.reminders + 1, "reminded_at": now}, notices)


def _all() -> Any:
    return select(*(_table.c[name] for name in Stored._fields))


def _stored(row: Row[Any]) -> Stored:
    documents = {name: msgspec.json.decode(getattr(row, name), type=tuple[str, ...]) for name in _DOCUMENTS}
    return Stored(**{**row._mapping, **documents, "state": OverrideState(row.state)})


def _conditions(filters: Filters, now: str) -> list[ColumnElement[bool]]:
    wanted = [
        _table.c[name] == value for name in ("state", "late", "department", "case_id") if (value := getattr(filters, name)) is not None
    ]
    for column, text in ((_table.c.operators, filters.operator), (_table.c.flags, filters.flag)):
        if text is not None:
            # The column holds a JSON list of texts: one of them stands in it with its quotes.
            wanted.append(Holds(column, literal(msgspec.json.encode(text), LargeBinary)))
    if filters.overdue is not None:
        late = and_(_table.c.state.in_(_STILL_OPEN), _table.c.review_due_at < now)
        wanted.append(late if filters.overdue else ~late)
    wanted.append(_table.c.at >= filters.since if filters.since is not None else true())
    wanted.append(_table.c.at < filters.until if filters.until is not None else true())
    return wanted


def _row(hospital: str, opening: Opening) -> dict[str, Any]:
    kept = {name: msgspec.json.encode(value) if name in _DOCUMENTS else value for name, value in _kept(opening).items()}
    reported = opening.reported_at is not None
    return kept | {
        "id": opening.id,
        "hospital": hospital,
        "at": opening.at,
        "declared_by": opening.declared_by,
        "state": OverrideState.REPORTED if reported else OverrideState.PENDING_REPORT,
        "reported": reported,
    }


def _kept(opening: Opening) -> dict[str, Any]:
    """What the opening step keeps of the override, so that the proof covers it."""
    return {name: getattr(opening, name) for name in KEPT}

"""Counts over the record, by the hospital's days."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import tables


class Counts(NamedTuple):
    """Decisions by outcome, for one value of what is counted by."""

    allow: int = 0
    deny: int = 0
    override: int = 0


class Period(NamedTuple):
    """Days of a hospital, both included."""

    hospital: str
    since: date
    until: date


async def by_day(connection: AsyncConnection, period: Period) -> dict[str, Counts]:
    """Per day on which anything was decided."""
    table = tables.decisions
    query = select(table.c.day, table.c.decision, func.count()).where(_within(period)).group_by(table.c.day, table.c.decision)
    return _counted((await connection.execute(query)).all())


async def by_term(connection: AsyncConnection, period: Period, kind: str) -> dict[str, Counts]:
    """Per department, operator or reason."""
    table, terms = tables.decisions, tables.decision_terms
    query = (
        select(terms.c.value, table.c.decision, func.count())
        .join_from(table, terms, and_(terms.c.decision_id == table.c.id, terms.c.kind == kind))
        .where(_within(period))
        .group_by(terms.c.value, table.c.decision)
    )
    return _counted((await connection.execute(query)).all())


async def relaxed_by_operator(connection: AsyncConnection, period: Period) -> dict[str, int]:
    """Per operator, the decisions that urgency alone relaxed."""
    table: Table = tables.decisions
    marks, operators = tables.decision_terms.alias(), tables.decision_terms.alias()
    query = (
        select(operators.c.value, func.count())
        .select_from(table)
        .join(marks, and_(marks.c.decision_id == table.c.id, marks.c.kind == "confirm"))
        .join(operators, and_(operators.c.decision_id == table.c.id, operators.c.kind == "operator"))
        .where(_within(period))
        .group_by(operators.c.value)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


class OverrideTally(NamedTuple):
    """The overrides opened within a period, counted by what they have in common; the department of a code is the first that it was let through in."""

    states: Counter[str]
    days: Counter[str]
    departments: Counter[str]
    surgeons: Counter[str]
    codes: Counter[str]
    hours: Counter[int]
    flags: Counter[str]
    department_of: dict[str, str]


async def overrides_of(connection: AsyncConnection, period: Period) -> OverrideTally:
    """The overrides of a period, by every way in which they may recur."""
    table = tables.overrides
    columns = (table.c.state, table.c.day, table.c.department, table.c.hour, table.c.operators, table.c.codes, table.c.flags)
    days = table.c.day.between(period.since.isoformat(), period.until.isoformat())
    rows = (await connection.execute(select(*columns).where(table.c.hospital == period.hospital, days))).all()
    return OverrideTally(
        states=Counter(row.state for row in rows),
        days=Counter(row.day for row in rows),
        departments=Counter(row.department for row in rows),
        surgeons=Counter(_texts(row.operators for row in rows)),
        codes=Counter(_texts(row.codes for row in rows)),
        hours=Counter(row.hour for row in rows),
        flags=Counter(_texts(row.flags for row in rows)),
        department_of={code: row.department for row in reversed(rows) for code in _texts([row.codes])},
    )


def _texts(documents: Iterable[bytes]) -> Iterable[str]:
    return (text for document in documents for text in msgspec.json.decode(document, type=list[str]))


def _within(period: Period) -> Any:
    table = tables.decisions
    days = table.c.day.between(period.since.isoformat(), period.until.isoformat())
    return and_(table.c.hospital == period.hospital, days)


def _counted(rows: Any) -> dict[str, Counts]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for value, decision, count in rows:
        found[value][decision] = count
    return {value: Counts(**counts) for value, counts in sorted(found.items())}

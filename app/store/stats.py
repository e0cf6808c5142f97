"""Counts over the record, by the hospital's days."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import Any, NamedTuple

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


def _within(period: Period) -> Any:
    table = tables.decisions
    days = table.c.day.between(period.since.isoformat(), period.until.isoformat())
    return and_(table.c.hospital == period.hospital, days)


def _counted(rows: Any) -> dict[str, Counts]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for value, decision, count in rows:
        found[value][decision] = count
    return {value: Counts(**counts) for value, counts in sorted(found.items())}

"""The record as it is read: one decision, lists of them, a case; and the note of who read it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, exists, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import chain, tables
from app.store.keys import Key

MAX_CASE_DECISIONS = 1000
"""The latest decisions of one case that are shown; an operation has a handful."""


class Recorded(NamedTuple):
    """One decision as it is kept."""

    id: str
    at: str
    client: str
    key_id: str
    checkpoint: str
    case_id: str
    decision: str
    patient_id: str
    matrix_version: int | None
    engine_version: str
    policy_version: str
    order: bytes
    answer: bytes
    past: bytes


class Filters(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a list of decisions is narrowed to. `terms` are (kind, value); `since` is included, `until` is not; both RFC 3339 in UTC."""

    case_id: str | None = None
    decision: str | None = None
    checkpoint: str | None = None
    client: str | None = None
    terms: tuple[tuple[str, str], ...] = ()
    since: str | None = None
    until: str | None = None


async def one(connection: AsyncConnection, hospital: str, decision_id: str, client: str | None) -> Recorded | None:
    """A decision by its id; None where the hospital, or the client where one is given, has none of it."""
    table = tables.decisions
    query = select(*_columns()).where(table.c.hospital == hospital, table.c.id == decision_id)
    if client is not None:
        query = query.where(table.c.client == client)
    row = (await connection.execute(query)).first()
    return None if row is None else _recorded(row)


async def newest(connection: AsyncConnection, hospital: str, filters: Filters, after: tuple[str, str] | None, limit: int) -> list[Recorded]:
    """Decisions, newest first. `after`: time and id of the last one on the page before."""
    query = _filtered(select(*_columns()), hospital, filters)
    at, own_id = (tables.decision_terms.c.at, tables.decision_terms.c.decision_id) if filters.terms else _own_order()
    if after is not None:
        query = query.where(tuple_(at, own_id) < tuple_(*after))
    query = query.order_by(at.desc(), own_id.desc()).limit(limit)
    return [_recorded(row) for row in await connection.execute(query)]


async def of_case(connection: AsyncConnection, hospital: str, case_id: str) -> list[Recorded]:
    """The decisions of a case, oldest first."""
    table = tables.decisions
    query = select(*_columns()).where(table.c.hospital == hospital, table.c.case_id == case_id)
    rows = (await connection.execute(query.order_by(table.c.seq.desc()).limit(MAX_CASE_DECISIONS))).all()
    return [_recorded(row) for row in reversed(rows)]


async def note_read(connection: AsyncConnection, key: Key, kind: str, subject: str, found: Sequence[str]) -> None:
    """Keep who read which decisions, and when."""
    row: dict[str, Any] = {
        "hospital": key.hospital,
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "key_id": key.id,
        "client": key.client,
        "staff": key.staff,
        "kind": kind,
        "subject": subject,
        "found": msgspec.json.encode(found),
    }
    made = (await connection.execute(tables.reads.insert().values(row))).inserted_primary_key
    assert made is not None
    await chain.append(connection, key.hospital, [chain.Link("read", str(made[0]), row["at"], chain.form_of(tables.reads, row))])


def _columns() -> list[ColumnElement[Any]]:
    return [tables.decisions.c[name] for name in Recorded._fields]


def _recorded(row: Row[Any]) -> Recorded:
    return Recorded._make(row)


def _own_order() -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    return tables.decisions.c.at, tables.decisions.c.id


def _filtered(query: Select[Any], hospital: str, filters: Filters) -> Select[Any]:
    """The first term is walked along its index, newest first; whatever else is asked is looked at row by row."""
    table, terms = tables.decisions, tables.decision_terms
    at = table.c.at
    if filters.terms:
        at = terms.c.at
        query = query.join_from(terms, table, terms.c.decision_id == table.c.id).where(_is_term(terms, hospital, filters.terms[0]))
        for term in filters.terms[1:]:
            other = terms.alias()
            query = query.where(exists().where(other.c.decision_id == table.c.id, _is_term(other, hospital, term)))
    else:
        query = query.where(table.c.hospital == hospital)
    for name in ("case_id", "decision", "checkpoint", "client"):
        wanted = getattr(filters, name)
        if wanted is not None:
            query = query.where(table.c[name] == wanted)
    if filters.since is not None:
        query = query.where(at >= filters.since)
    if filters.until is not None:
        query = query.where(at < filters.until)
    return query


def _is_term(terms: Any, hospital: str, term: tuple[str, str]) -> ColumnElement[bool]:
    kind, value = term
    return and_(terms.c.hospital == hospital, terms.c.kind == kind, terms.c.value == value)

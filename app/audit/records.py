"""Records and chain entries as they stand in the database, read without trusting it: whatever somebody wrote there must not stop the reading."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, Row, Select, String, Table, cast, exists, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NullType

from app.store import chain, tables
from app.store.chain import Entry

BATCH = 200
"""Entries that are read and hashed at once: some milliseconds, between which others have their turn."""

STAYS = ("change", "override")
"""Kinds whose records stay in the database when they are archived: the change log is the matrix's history, a step is its override's state."""


class Found(NamedTuple):
    """A record as it is there: its place in the order of its table, and its canonical form; None where it has none any more."""

    seq: int
    form: dict[str, Any] | None


def plain(table: Table) -> Select[Any]:
    """The rows of a table as the driver gives them: a value of a wrong type is read all the same."""
    return select(*(_plain(column) for column in table.columns))


async def next_entries(connection: AsyncConnection, hospital: str, after: int, until: int | None = None) -> list[Entry]:
    """The next entries after a number, up to another; empty where there are no more."""
    log = tables.chain
    query = plain(log).where(log.c.hospital == hospital, log.c.number > after).order_by(log.c.number).limit(BATCH)
    rows = await connection.execute(query if until is None else query.where(log.c.number <= until))
    return [entry_of(row) for row in rows]


async def entries_between(connection: AsyncConnection, hospital: str, after: int, until: int | None = None) -> AsyncIterator[list[Entry]]:
    """The entries after a number, up to another, in batches."""
    while entries := await next_entries(connection, hospital, after, until):
        yield entries
        after = entries[-1].number


async def found_for(connection: AsyncConnection, hospital: str, entries: Sequence[Entry]) -> dict[tuple[str, str], Found]:
    """The records that entries are about, by kind and reference. One that is not there is left out."""
    found: dict[tuple[str, str], Found] = {}
    for kind, table in chain.KINDS.items():
        refs = [entry.ref for entry in entries if entry.kind == kind]
        if refs:
            found |= {(kind, ref): one for ref, one in (await _of_kind(connection, hospital, kind, table, refs)).items()}
    return found


async def strangers(connection: AsyncConnection, hospital: str, kind: str, most: int) -> list[str]:
    """References of records of a kind that no entry of the chain is about."""
    table, log = chain.KINDS[kind], tables.chain
    ref = _ref(kind, table)
    known = exists().where(log.c.hospital == hospital, log.c.kind == kind, log.c.ref == cast(ref, String))
    rows = await connection.execute(select(ref).where(table.c.hospital == hospital, ~known).order_by(table.c.seq).limit(most))
    return [str(row[0]) for row in rows]


async def stray_terms(connection: AsyncConnection, hospital: str, most: int) -> list[str]:
    """Ids of decisions that are not there, but by which something is found."""
    terms, decisions = tables.decision_terms, tables.decisions
    known = exists().where(decisions.c.id == terms.c.decision_id)
    query = select(terms.c.decision_id).distinct().where(terms.c.hospital == hospital, ~known).limit(most)
    return [str(ref) for ref in (await connection.execute(query)).scalars()]


def digest_of(found: Found) -> bytes | None:
    """The digest of a record as it is there; None where it has no form."""
    return None if found.form is None else chain.digest_of(found.form)


def entry_of(row: Row[Any]) -> Entry:
    """An entry from a row as the driver gave it; what is of a wrong type cannot be right and becomes empty."""
    digest, hash_ = (value if isinstance(value, bytes) else b"" for value in (row.digest, row.hash))
    return Entry(row.number, str(row.kind), str(row.ref), str(row.at), digest, hash_)


async def _of_kind(connection: AsyncConnection, hospital: str, kind: str, table: Table, refs: Sequence[str]) -> dict[str, Found]:
    ref = _ref(kind, table)
    wanted = refs if kind == "decision" else [int(text) for text in refs if text.isascii() and text.isdecimal()]
    rows = (await connection.execute(plain(table).where(table.c.hospital == hospital, ref.in_(wanted)))).mappings().all()
    terms = await _terms(connection, hospital, rows) if kind == "decision" else {}
    return {
        str(row[ref.name]): Found(row["seq"], _form(table, row, terms.get(row["id"], []) if kind == "decision" else None)) for row in rows
    }


async def _terms(connection: AsyncConnection, hospital: str, rows: Sequence[Mapping[Any, Any]]) -> dict[str, list[tuple[str, str]]]:
    """What decisions are found by. A term under another time than its decision's would not be found: it does not count."""
    table = tables.decision_terms
    at = {row["id"]: row["at"] for row in rows}
    made: dict[str, list[tuple[str, str]]] = {id_: [] for id_ in at}
    for term in await connection.execute(plain(table).where(table.c.decision_id.in_(list(at)), table.c.hospital == hospital)):
        if term.at == at[term.decision_id]:
            made[term.decision_id].append((term.kind, term.value))
    return made


def _form(table: Table, row: Mapping[Any, Any], terms: Sequence[tuple[str, str]] | None) -> dict[str, Any] | None:
    try:
        return chain.form_of(table, row, terms)
    except (UnicodeDecodeError, TypeError):
        return None  # it was a text when it was recorded, or its terms could be sorted


def _ref(kind: str, table: Table) -> Column[Any]:
    return table.c.id if kind == "decision" else table.c.seq


def _plain(column: Column[Any]) -> Any:
    return type_coerce(column, NullType()).label(column.name)

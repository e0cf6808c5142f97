"""Carrying out a plan.

While somebody writes, no decision can be recorded. So the rows are staged first, in temporary tables of the connection, which keep nobody waiting;
within the transaction a few statements put all of them in their place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Column, MetaData, String, Table, and_, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.imports.current import KEYED_KINDS, Held, Profile
from app.imports.plan import Plan
from app.imports.steps import Step
from app.store import bulk, hospitals, tables
from app.store.hospitals import ROWS_AT_ONCE

_FOUND_BY = {
    "aliases": ("code",),
    "staff": ("staff",),
    "grants": ("id",),
    "credentials": ("staff", "technology", "kind", "issued_on"),
    "volumes": ("staff", "scope_type", "scope", "year"),
    "roster": ("staff", "starts", "ends"),
}
"""The columns by which a stored row is found again; a file never changes them."""

_NEVER_CHANGED = {"grants": ("staff", "scope_type", "scope", "department", "role", "valid_from")}
"""Further columns that a file cannot change, since it names the row by them. Left alone, the indexes on them are too."""

_MOVE = "import_move"
"""The staged column that says what becomes of the row."""


class _Move(StrEnum):
    ADD = "add"
    CHANGE = "change"
    DROP = "drop"


_Row = tuple[_Move, dict[str, Any]]


class _Staged(NamedTuple):
    """A table's rows, staged; None where there are none. `rewritten`: they take the place of all that the hospital has there."""

    table: Table
    rows: Table | None
    moves: frozenset[_Move]
    rewritten: bool


class Placing:
    """A plan on its way into the store: `stage` on a connection, then `place` within the transaction on the same one."""

    def __init__(self, code: str, plan: Plan) -> None:
        self._code = code
        self._plan = plan
        self._staged: list[_Staged] = []

    async def stage(self, connection: AsyncConnection) -> None:
        """Put what is to be written into temporary tables."""
        for table, rows, rewritten in _to_stage(self._code, self._plan):
            self._staged.append(await _stage(connection, table, rows, rewritten=rewritten))

    async def place(self, connection: AsyncConnection) -> None:
        """Put what is staged in its place; the change log is the caller's."""
        if self._plan.profile is not None:
            await _write_profile(connection, self._code, self._plan.profile)
        for staged in self._staged:
            await _place(connection, self._code, staged)


def _to_stage(code: str, plan: Plan) -> Iterator[tuple[Table, Iterator[_Row], bool]]:
    if plan.catalog is not None:
        yield tables.catalog, ((_Move.ADD, _entry_row(code, place, held)) for place, held in enumerate(plan.catalog)), True
    if plan.technologies is not None:
        yield tables.technologies, ((_Move.ADD, _technology_row(code, place, held)) for place, held in enumerate(plan.technologies)), True
    for kind in KEYED_KINDS:
        yield tables.metadata.tables[kind], _moved(code, kind, plan.steps), False


def _moved(code: str, kind: str, steps: Iterable[Step]) -> Iterator[_Row]:
    row_of = _ROWS[kind]
    for step in steps:
        held = step.after or step.before
        if step.table == kind and step.writes and held is not None:
            move = _Move.ADD if step.before is None else _Move.DROP if step.after is None else _Move.CHANGE
            yield move, row_of(code, held)


async def _stage(connection: AsyncConnection, table: Table, rows: Iterator[_Row], *, rewritten: bool) -> _Staged:
    """Made in a thread and written piece by piece, so that the worker goes on answering."""
    moves: set[_Move] = set()
    staging = None
    while piece := await asyncio.to_thread(lambda: list(islice(rows, ROWS_AT_ONCE))):
        if staging is None:
            columns = [Column(name, table.c[name].type) for name in piece[0][1]]
            staging = Table(f"import_{table.name}", MetaData(), Column(_MOVE, String), *columns, prefixes=["TEMPORARY"])
            await connection.run_sync(staging.create)
        moves.update(move for move, _ in piece)
        await bulk.insert(connection, staging, [{_MOVE: move.value, **row} for move, row in piece])
    return _Staged(table, staging, frozenset(moves), rewritten)


async def _place(connection: AsyncConnection, code: str, staged: _Staged) -> None:
    table, rows, moves, rewritten = staged
    if rewritten:
        await connection.execute(delete(table).where(table.c.hospital == code))
    if rows is None:
        return
    names = [column.name for column in rows.columns if column.name != _MOVE]
    keys = _FOUND_BY.get(table.name, ())
    if _Move.DROP in moves:
        dropped = select(*(rows.c[key] for key in keys)).where(rows.c[_MOVE] == _Move.DROP)
        await connection.execute(delete(table).where(table.c.hospital == code, tuple_(*(table.c[key] for key in keys)).in_(dropped)))
    if _Move.CHANGE in moves:
        same = and_(table.c.hospital == code, rows.c[_MOVE] == _Move.CHANGE, *(table.c[key] == rows.c[key] for key in keys))
        fixed = {"hospital", *keys, *_NEVER_CHANGED.get(table.name, ())}
        await connection.execute(table.update().where(same).values({name: rows.c[name] for name in names if name not in fixed}))
    if _Move.ADD in moves:
        added = select(*(rows.c[name] for name in names)).where(rows.c[_MOVE] == _Move.ADD)
        await connection.execute(table.insert().from_select(names, added))


async def _write_profile(connection: AsyncConnection, code: str, profile: Profile) -> None:
    row = {
        "name": profile.name,
        "time_zone": profile.time_zone,
        "province": profile.province,
        "settings": msgspec.json.encode(profile.settings),
    }
    table = tables.hospitals
    changed = await connection.execute(table.update().where(table.c.code == code).values(row))
    if not changed.rowcount:
        await connection.execute(table.insert(), {"code": code, **row})


def _notes(held: Held) -> bytes | None:
    return msgspec.json.encode(held.notes) if held.notes else None


def _entry_row(code: str, place: int, held: Held) -> dict[str, Any]:
    return {"hospital": code, "position": place, "entry": msgspec.json.encode(held.value), "documentation": _notes(held) or b"{}"}


def _technology_row(code: str, place: int, held: Held) -> dict[str, Any]:
    return {
        **hospitals.technology_row(code, place, held.value),
        "stopped_by_hand": held.by_hand,
        "documentation": _notes(held),
    }


def _alias_row(code: str, held: Held) -> dict[str, Any]:
    return {"hospital": code, "code": held.value[0], "national_code": held.value[1], "documentation": _notes(held)}


def _staff_row(code: str, held: Held) -> dict[str, Any]:
    return {**hospitals.staff_row(code, held.value), "suspended_by_hand": held.by_hand, "documentation": _notes(held)}


def _grant_row(code: str, held: Held) -> dict[str, Any]:
    row = hospitals.grant_row(code, held.value)
    return {**row, "state_by_hand": held.by_hand, "retired": held.retired, "documentation": _notes(held)}


def _plain_row(code: str, held: Held) -> dict[str, Any]:
    value = held.value
    row = {name: getattr(value, name) for name in value.__struct_fields__}
    if "scope_type" in row:
        row["scope_type"] = row["scope_type"].value
    return {"hospital": code, **row, "documentation": _notes(held)}


def _duty_row(code: str, held: Held) -> dict[str, Any]:
    return {**hospitals.duty_row(code, held.value), "documentation": _notes(held)}


_ROWS: Mapping[str, Callable[[str, Held], dict[str, Any]]] = {
    "aliases": _alias_row,
    "staff": _staff_row,
    "grants": _grant_row,
    "credentials": _plain_row,
    "volumes": _plain_row,
    "roster": _duty_row,
}

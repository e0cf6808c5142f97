"""Carrying out a plan within one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import Executable, Table, and_, bindparam, delete
from sqlalchemy.ext.asyncio import AsyncConnection

from app.imports.current import KEYED_KINDS, ROWS_AT_ONCE, Held, Profile
from app.imports.plan import Plan
from app.imports.steps import Step
from app.store import hospitals, tables

_KEYS = {
    "aliases": ("code",),
    "staff": ("staff",),
    "grants": ("id",),
    "credentials": ("staff", "technology", "kind", "issued_on"),
    "volumes": ("staff", "scope_type", "scope", "year"),
}
"""The columns by which a stored row is found again."""


async def apply(connection: AsyncConnection, code: str, plan: Plan) -> None:
    """Write what the plan says; the change log is the caller's."""
    if plan.profile is not None:
        await _write_profile(connection, code, plan.profile)
    if plan.catalog is not None:
        rows = [_entry_row(code, place, held) for place, held in enumerate(plan.catalog)]
        await _rewrite(connection, tables.catalog, code, rows)
    if plan.technologies is not None:
        rows = [_technology_row(code, place, held) for place, held in enumerate(plan.technologies)]
        await _rewrite(connection, tables.technologies, code, rows)
    for kind in KEYED_KINDS:
        steps = [step for step in plan.steps if step.table == kind and step.writes]
        if steps:
            await _write_rows(connection, tables.metadata.tables[kind], code, steps, _ROWS[kind])


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


async def _rewrite(connection: AsyncConnection, table: Table, code: str, rows: Sequence[Mapping[str, Any]]) -> None:
    await connection.execute(delete(table).where(table.c.hospital == code))
    await _execute(connection, table.insert(), rows)


async def _write_rows(
    connection: AsyncConnection, table: Table, code: str, steps: Sequence[Step], row_of: Callable[[str, Held], dict[str, Any]]
) -> None:
    keys = _KEYS[table.name]
    found = and_(table.c.hospital == code, *(table.c[key] == bindparam(f"found_{key}") for key in keys))
    changing = table.update().where(found).values({c.name: bindparam(f"new_{c.name}") for c in table.columns})
    gone = (_found(row_of(code, s.before), keys) for s in steps if s.before is not None and s.after is None)
    changed = (
        _found(row_of(code, s.before), keys) | {f"new_{name}": value for name, value in row_of(code, s.after).items()}
        for s in steps
        if s.before is not None and s.after is not None
    )
    added = (row_of(code, s.after) for s in steps if s.before is None and s.after is not None)
    await _execute(connection, delete(table).where(found), gone)
    await _execute(connection, changing, changed)
    await _execute(connection, table.insert(), added)


async def _execute(connection: AsyncConnection, statement: Executable, rows: Iterable[Mapping[str, Any]]) -> None:
    """A statement for each of many rows, in pieces, so that the worker goes on answering."""
    iterator = iter(rows)
    while piece := list(islice(iterator, ROWS_AT_ONCE)):
        await connection.execute(statement, piece)


def _found(row: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {f"found_{key}": row[key] for key in keys}


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


_ROWS: Mapping[str, Callable[[str, Held], dict[str, Any]]] = {
    "aliases": _alias_row,
    "staff": _staff_row,
    "grants": _grant_row,
    "credentials": _plain_row,
    "volumes": _plain_row,
}

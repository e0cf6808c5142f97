"""Grants in the database: one by its id, a person's, a filtered list; added, changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Row, and_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import Grant, GrantState, ScopeType
from app.store import tables
from app.store.hospitals import grant_row

_table = tables.grants
_COLUMNS = tuple(_table.c[name] for name in (*Grant.__struct_fields__, "state_by_hand", "retired"))


class StoredGrant(msgspec.Struct, frozen=True):
    """A grant as it is kept. `state_by_hand`: its state was set through the API, and no file undoes it. `retired`: a file that replaced the
    matrix left it out; it counts for nothing."""

    grant: Grant
    state_by_hand: bool = False
    retired: bool = False


class Filter(msgspec.Struct, frozen=True):
    """Which grants a list holds; None is any. `scopes` are spellings of one scope."""

    staff: str | None = None
    scopes: tuple[str, ...] | None = None
    scope_type: ScopeType | None = None
    state: GrantState | None = None


async def find(connection: AsyncConnection, hospital: str, grant_id: str) -> StoredGrant | None:
    """The grant of that id, retired ones too; None where the hospital has none."""
    row = (await connection.execute(select(*_COLUMNS).where(_is(hospital, grant_id)))).first()
    return None if row is None else _stored(row)


async def of_person(connection: AsyncConnection, hospital: str, staff: str) -> list[StoredGrant]:
    """All grants of a person, retired ones too, by their first day."""
    mine = and_(_table.c.hospital == hospital, _table.c.staff == staff)
    rows = await connection.execute(select(*_COLUMNS).where(mine).order_by(_table.c.valid_from, _table.c.id))
    return [_stored(row) for row in rows]


async def page(connection: AsyncConnection, hospital: str, wanted: Filter, after: tuple[str, str] | None, limit: int) -> list[StoredGrant]:
    """The grants that are not retired and fit, by staff number and id; those behind `after` (staff number and id)."""
    column = _table.c
    query = select(*_COLUMNS).where(column.hospital == hospital, column.retired.is_(False))
    if wanted.staff is not None:
        query = query.where(column.staff == wanted.staff)
    if wanted.scopes is not None:
        query = query.where(column.scope.in_(wanted.scopes))
    if wanted.scope_type is not None:
        query = query.where(column.scope_type == wanted.scope_type.value)
    if wanted.state is not None:
        query = query.where(column.state == wanted.state.value)
    if after is not None:
        query = query.where(tuple_(column.staff, column.id) > after)
    rows = await connection.execute(query.order_by(column.staff, column.id).limit(limit))
    return [_stored(row) for row in rows]


async def add(connection: AsyncConnection, hospital: str, stored: StoredGrant) -> None:
    """Insert a grant that is not there."""
    await connection.execute(_table.insert(), _row(hospital, stored))


async def put(connection: AsyncConnection, hospital: str, stored: StoredGrant) -> None:
    """Write over the grant of that id."""
    await connection.execute(update(_table).where(_is(hospital, stored.grant.id)).values(_row(hospital, stored)))


def _is(hospital: str, grant_id: str) -> Any:
    return and_(_table.c.hospital == hospital, _table.c.id == grant_id)


def _row(hospital: str, stored: StoredGrant) -> Mapping[str, Any]:
    return {**grant_row(hospital, stored.grant), "state_by_hand": stored.state_by_hand, "retired": stored.retired}


def _stored(row: Row[Any]) -> StoredGrant:
    found = row._mapping
    grant = msgspec.convert({name: found[name] for name in Grant.__struct_fields__}, Grant)
    return StoredGrant(grant, bool(found["state_by_hand"]), bool(found["retired"]))

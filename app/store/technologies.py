"""Technologies in the database: found, stopped and resumed by hand."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import Technology
from app.store import tables
from app.store.hospitals import technology_of

_table = tables.technologies


class StoredTechnology(msgspec.Struct, frozen=True):
    """A technology of the hospital. `stopped_by_hand`: stopped through the API, and no file undoes it."""

    technology: Technology
    stopped_by_hand: bool = False


async def find(connection: AsyncConnection, hospital: str, technology: str) -> StoredTechnology | None:
    """The technology of that id; None where the hospital has none."""
    row = (await connection.execute(select(_table).where(_is(hospital, technology)))).first()
    return None if row is None else StoredTechnology(technology_of(row), bool(row.stopped_by_hand))


async def set_stopped(connection: AsyncConnection, hospital: str, technology: str, *, stopped: bool) -> None:
    """Stop a technology by hand, or let it go on, after which files decide again."""
    await connection.execute(update(_table).where(_is(hospital, technology)).values(stopped=stopped, stopped_by_hand=stopped))


def _is(hospital: str, technology: str) -> Any:
    return and_(_table.c.hospital == hospital, _table.c.id == technology)

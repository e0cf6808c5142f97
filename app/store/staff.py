"""People's standing in the database: found, and set by hand."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import Staff, StaffStatus
from app.store import tables
from app.store.hospitals import staff_of

_table = tables.staff


class StoredStaff(msgspec.Struct, frozen=True):
    """A person of the register. `suspended_by_hand`: suspended through the API, and no file undoes it."""

    staff: Staff
    suspended_by_hand: bool = False


async def find(connection: AsyncConnection, hospital: str, number: str) -> StoredStaff | None:
    """The person of that staff number; None where the register has none."""
    row = (await connection.execute(select(_table).where(_is(hospital, number)))).mappings().first()
    return None if row is None else StoredStaff(staff_of(row), bool(row["suspended_by_hand"]))


async def set_status(connection: AsyncConnection, hospital: str, number: str, status: StaffStatus, *, by_hand: bool) -> None:
    """Set a person's status and whether a file may change it."""
    await connection.execute(update(_table).where(_is(hospital, number)).values(status=status.value, suspended_by_hand=by_hand))


def _is(hospital: str, number: str) -> Any:
    return and_(_table.c.hospital == hospital, _table.c.staff == number)

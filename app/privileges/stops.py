"""A person's privileges as a whole suspended and resumed, a technology stopped and resumed, hospital-wide.

As with a grant, a second suspend or stop is a `Conflict`; what a file suspended or stopped may be so by hand too, and then no file undoes it.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import StaffStatus
from app.errors import Conflict, NotFound
from app.privileges.changing import Author, make
from app.store import staff, technologies
from app.store.changes import Change
from app.store.database import Database
from app.store.staff import StoredStaff
from app.store.technologies import StoredTechnology


class StaffChanged(NamedTuple):
    """A person after a change that is in force, and the matrix version that it gave."""

    stored: StoredStaff
    version: int


class TechnologyChanged(NamedTuple):
    """A technology after a change that is in force, and the matrix version that it gave."""

    stored: StoredTechnology
    version: int


async def set_suspended(database: Database, author: Author, number: str, *, suspended: bool) -> StaffChanged:
    """Suspend all privileges of a person, or let them hold again.

    Raises:
        NotFound: the register has no such person.
        Conflict: they have left, are suspended by hand already, or are not suspended.
    """
    status = StaffStatus.SUSPENDED if suspended else StaffStatus.ACTIVE

    async def work(connection: AsyncConnection) -> tuple[StoredStaff, Change]:
        before = await staff.find(connection, author.hospital, number)
        if before is None:
            raise NotFound(f"人员表中没有工号 {number} / no staff number {number}")
        _refuse_staff(before, status)
        await staff.set_status(connection, author.hospital, number, status, by_hand=suspended)
        change = author.change(
            "staff",
            number,
            "suspend" if suspended else "resume",
            {"status": before.staff.status, "suspended_by_hand": before.suspended_by_hand},
            {"status": status, "suspended_by_hand": suspended},
            (number,),
        )
        after = await staff.find(connection, author.hospital, number)
        assert after is not None
        return after, change

    return StaffChanged(*await make(database, author.hospital, work))


async def set_stopped(database: Database, author: Author, technology: str, *, stopped: bool) -> TechnologyChanged:
    """Stop a technology in the whole hospital, or let it be done again.

    Raises:
        NotFound: the hospital has no such technology.
        Conflict: it is stopped by hand already, or not stopped.
    """

    async def work(connection: AsyncConnection) -> tuple[StoredTechnology, Change]:
        before = await technologies.find(connection, author.hospital, technology)
        if before is None:
            raise NotFound(f"没有技术 {technology} / no technology {technology}")
        if before.technology.stopped is stopped and before.stopped_by_hand is stopped:
            zh, en = ("已停止", "stopped already") if stopped else ("未停止", "not stopped")
            raise Conflict(f"技术 {technology} {zh} / technology {technology} is {en}")
        await technologies.set_stopped(connection, author.hospital, technology, stopped=stopped)
        change = author.change(
            "technology",
            technology,
            "stop" if stopped else "resume",
            {"stopped": before.technology.stopped, "stopped_by_hand": before.stopped_by_hand},
            {"stopped": stopped, "stopped_by_hand": stopped},
            None,
        )
        after = await technologies.find(connection, author.hospital, technology)
        assert after is not None
        return after, change

    return TechnologyChanged(*await make(database, author.hospital, work))


def _refuse_staff(before: StoredStaff, status: StaffStatus) -> None:
    """Raises `Conflict` where the person's status does not allow that one."""
    number, now = before.staff.staff, before.staff.status
    if now is StaffStatus.LEFT:
        raise Conflict(f"{number} 已离职 / {number} has left")
    only_by_file = status is StaffStatus.SUSPENDED and not before.suspended_by_hand
    if now is status and not only_by_file:
        raise Conflict(f"{number} 当前状态已是 {now} / {number} is {now} already")


__all__ = ["StaffChanged", "TechnologyChanged", "set_stopped", "set_suspended"]

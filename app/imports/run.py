"""An import from reading what is there to its being in force everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from app.engine.model import Value
from app.errors import Conflict
from app.imports.apply import Placing
from app.imports.content import Content
from app.imports.current import Current, read_current
from app.imports.diff import Diff, diff_of
from app.imports.plan import Plan, make_plan, needed_tables
from app.imports.steps import Loosening, Mode
from app.store import changes, hospitals
from app.store.database import Database

ATTEMPTS = 5
"""How often an import starts anew because the hospital changed while the file was read."""

MAX_NAMED = 20
"""Loosenings that an error's text names; all are in its document."""


class NeedsConfirmation(Conflict):
    """The import loosens something and was not confirmed. `members` go into the problem document."""

    def __init__(self, loosening: tuple[Loosening, ...]) -> None:
        named = "; ".join(f"{one.message.zh} / {one.message.en}" for one in loosening[:MAX_NAMED])
        super().__init__(f"须以 confirm=true 确认 / needs confirm=true: {named}")
        self.members = {"loosening": msgspec.to_builtins(loosening)}


class Job(NamedTuple):
    """What is asked for. `by`: who imports; `reason` and `document_no` go into the change log."""

    hospital: str
    kind: str
    by: str
    mode: Mode = Mode.MERGE
    dry_run: bool = False
    confirm: bool = False
    reason: str = ""
    document_no: str = ""


class _Planned(NamedTuple):
    """A plan, its diff, whether it writes anything, and whose rows it changes (as `Change.people`)."""

    plan: Plan
    diff: Diff
    writes: bool
    people: tuple[str, ...] | None


class _Detail(Value, frozen=True):
    """What the change log keeps of an import."""

    diff: Diff
    confirmed: bool


async def run(database: Database, job: Job, read: Callable[[Current], Content]) -> Diff:
    """Import what `read` makes of the file, given what is there; all or nothing, and in force on every worker on return.

    The file is read and held against the hospital, and its rows are staged, outside of the transaction that writes, which keeps every record of
    a decision waiting; that transaction begins with a look whether the hospital is still as it was.

    Raises:
        PackError: what is wrong with the file, every problem of it.
        NeedsConfirmation: it loosens something, and `confirm` is not set.
        Conflict: the hospital kept changing meanwhile.
    """
    for _ in range(ATTEMPTS):
        async with database.read() as connection:
            current = await read_current(connection, job.hospital, needed_tables(job.kind))
        # In a thread with everything that goes over all rows of the file.
        planned = await asyncio.to_thread(_planned, job, read, current)
        loosening = planned.plan.loosening
        if not job.dry_run and loosening and not job.confirm:
            raise NeedsConfirmation(loosening)
        version: int | None = current.version
        if not job.dry_run and planned.writes:
            version = await _write(database, job, planned, current.version)
        elif not job.dry_run:
            # Somebody may be told here that it is so already, who was not told before that it had been done.
            await changes.in_force(database, current.version)
        if version is not None:
            return replace(planned.diff, matrix_version=version)
    raise Conflict("the hospital is being changed all the time / 数据持续变动，请稍后重试")


def _planned(job: Job, read: Callable[[Current], Content], current: Current) -> _Planned:
    plan = make_plan(job.kind, job.mode, read(current), current)
    diff = diff_of(plan, job.hospital, made=current.profile is None, applied=not job.dry_run, version=current.version)
    return _Planned(plan, diff, plan.writes, plan.people)


async def _write(database: Database, job: Job, planned: _Planned, version: int) -> int | None:
    """The matrix version that the plan's transaction gives; None where the hospital is not at that version any more."""
    placing = Placing(job.hospital, planned.plan)
    async with database.write(job.hospital, placing.stage) as connection:
        if await hospitals.version(connection, job.hospital) != version:
            return None
        await placing.place(connection)
        change = changes.Change(
            hospital=job.hospital,
            by=job.by,
            kind="import",
            subject=job.kind,
            action=job.mode.value,
            reason=job.reason,
            document_no=job.document_no,
            people=planned.people,
            detail=_Detail(planned.diff, job.confirm),
        )
        seq = await changes.append(connection, change, datetime.now(UTC))
    await changes.in_force(database, seq)
    return seq

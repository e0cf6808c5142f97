"""What the medical affairs office is told of a step, and who turns it into messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec

from app.cache.live_hospital import LiveHospital
from app.store.outbox import Notice
from app.store.overrides import Opening, Stored


class Person(msgspec.Struct, frozen=True):
    """Somebody of the staff. `name` is empty where the register has none."""

    staff: str
    name: str = ""


class Procedure(msgspec.Struct, frozen=True):
    """A procedure by its canonical code. `name` is empty where the catalog has none."""

    code: str
    name: str = ""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a step; no patient is named. Instants are RFC 3339. `event`: the step; `by`: who did it, None for what the gateway does by
    itself; `to`: whom a report was made to; `state`, `flags`: the override's after the step."""

    override_id: str
    decision_id: str
    case_id: str
    at: str
    department: str
    operators: tuple[Person, ...]
    codes: tuple[Procedure, ...]
    declared_by: Person
    reason_code: str
    reason: str
    state: str
    late: bool
    review_due_at: str
    flags: tuple[str, ...]
    event: str
    by: Person | None = None
    to: str = ""
    note: str = ""


Notifier = Callable[[LiveHospital, Told, datetime], tuple[Notice, ...]]
"""Gives the messages to the hospital's targets that are due at that instant."""


def tell_nobody(_live: LiveHospital, _told: Told, _now: datetime) -> tuple[Notice, ...]:
    """For a gateway without notifications."""
    return ()


def told_of(live: LiveHospital, one: Opening | Stored, state: str, event: str, by: str, *, to: str = "", note: str = "") -> Told:
    """What is told of a step. `state`: the one after it; `by`: a staff number, empty for what the gateway does by itself."""
    return Told(
        override_id=one.id,
        decision_id=one.decision_id,
        case_id=one.case_id,
        at=one.at,
        department=one.department,
        operators=tuple(_person(live, number) for number in one.operators),
        codes=tuple(Procedure(code, code_name(live, one.department, code) or "") for code in one.codes),
        declared_by=_person(live, one.declared_by),
        reason_code=one.reason_code,
        reason=one.reason,
        state=str(state),
        late=one.late,
        review_due_at=one.review_due_at,
        flags=one.flags,
        event=str(event),
        by=_person(live, by) if by else None,
        to=to,
        note=note,
    )


def _person(live: LiveHospital, number: str) -> Person:
    return Person(number, name_of(live, number) or "")


def name_of(live: LiveHospital, number: str) -> str | None:
    """A person's name; None for who is not in the register."""
    row = live.matrix.person(number)
    return None if row is None else row.staff.name


def code_name(live: LiveHospital, department: str, code: str) -> str | None:
    """What the catalog calls a code in that department; None where it does not have it."""
    row = live.compiled.catalog.rows.get(code)
    entries = () if row is None else row.remaining(department) or row.entries
    return entries[0].entry.name if entries else None

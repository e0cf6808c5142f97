"""The messages of a step in an override's life, one for each target that is due.

A message names staff and codes with their names, never the patient. The declarer's words (`reason`, `note`) go to plain webhooks only, which are
the hospital's own systems; a chat robot gets what `formats` makes of the other fields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from app.cache.live import LiveHospital
from app.notify.targets import due
from app.notify.texts import EVENTS, TODO
from app.store.outbox import Notice
from app.store.overrides import Opening

Event: TypeAlias = Literal["open", "report", "takeover", "begin_review", "justify", "unjustify", "reopen", "remind"]
"""A step that is told of."""


class Person(msgspec.Struct, frozen=True):
    """Somebody of the staff. `name` is empty where the register has none."""

    staff: str
    name: str = ""


class Procedure(msgspec.Struct, frozen=True):
    """A procedure by its canonical code. `name` is empty where the catalog has none."""

    code: str
    name: str = ""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a step. Instants are RFC 3339. `by`: who did it, None for what the gateway does by itself; `to`: whom a report was made
    to; `state`, `flags`: the override's after the step."""

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
    event: Event
    by: Person | None = None
    to: str = ""
    note: str = ""


class Words(msgspec.Struct, frozen=True):
    """A text for people."""

    zh: str
    en: str


class Message(Told, frozen=True, kw_only=True):
    """A message as it is kept in the outbox and sent to a plain webhook. Instants carry the hospital's offset. `title`: what happened;
    `todo`: what is to be done now."""

    hospital: str
    hospital_name: str
    title: Words
    todo: Words
    version: Annotated[int, Meta(description="Of this form")] = 1


def notices(live: LiveHospital, told: Told, now: datetime) -> tuple[Notice, ...]:
    """The messages to the hospital's targets that are due at that instant: those of the office's hours or of the duty office's, and those
    that are always told."""
    targets = tuple(due(live, now))
    if not targets:
        return ()
    message = msgspec.json.encode(_message(live, told))
    return tuple(Notice(target, told.event, message) for target in targets)


def announced(opening: Opening | None, live: LiveHospital, now: datetime) -> Opening | None:
    """An override at its beginning with its messages."""
    return None if opening is None else opening._replace(notices=notices(live, told_of(opening, live), now))


def told_of(opening: Opening, live: LiveHospital) -> Told:
    """What is told of an override at its beginning."""
    return Told(
        override_id=opening.id,
        decision_id=opening.decision_id,
        case_id=opening.case_id,
        at=opening.at,
        department=opening.department,
        operators=tuple(person(live, number) for number in opening.operators),
        codes=tuple(procedure(live, code) for code in opening.codes),
        declared_by=person(live, opening.declared_by),
        reason_code=opening.reason_code,
        reason=opening.reason,
        state="reported" if opening.reported_at is not None else "pending_report",
        late=opening.late,
        review_due_at=opening.review_due_at,
        flags=opening.flags,
        event="open",
        by=person(live, opening.declared_by),
        to=opening.reported_to,
    )


def person(live: LiveHospital, number: str) -> Person:
    """Somebody by staff number, with the name that the register has now."""
    known = live.people.get(number)
    return Person(number, "" if known is None else known.staff.name)


def procedure(live: LiveHospital, code: str) -> Procedure:
    """A procedure by its canonical code, with the name that the catalog has now."""
    row = live.compiled.catalog.rows.get(code)
    return Procedure(code, "" if row is None or not row.entries else row.entries[0].entry.name)


def _message(live: LiveHospital, told: Told) -> Message:
    fields = msgspec.structs.asdict(told)
    for name in ("at", "review_due_at"):
        local = datetime.fromisoformat(fields[name]).astimezone(live.hospital.time_zone)
        fields[name] = local.isoformat(timespec="seconds")
    todo = TODO[told.event] if told.event != "open" or told.state == "pending_report" else TODO["report"]
    return Message(
        **fields, hospital=live.hospital.code, hospital_name=live.hospital.name, title=Words(*EVENTS[told.event]), todo=Words(*todo)
    )

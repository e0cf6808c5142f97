"""The messages of a step in an override's life, one for each target that is due.

A message names staff and codes with their names, never the patient. The declarer's words (`reason`, `note`) go to plain webhooks only, which are
the hospital's own systems; a chat robot gets what `formats` makes of the other fields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from app.cache.live_hospital import LiveHospital
from app.notify.targets import due
from app.notify.texts import EVENTS, TODO
from app.overrides.told import Told
from app.store.outbox import Notice


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


def _message(live: LiveHospital, told: Told) -> Message:
    fields = msgspec.structs.asdict(told)
    for name in ("at", "review_due_at"):
        local = datetime.fromisoformat(fields[name]).astimezone(live.hospital.time_zone)
        fields[name] = local.isoformat(timespec="seconds")
    todo = TODO[told.event] if told.event != "open" or told.state == "pending_report" else TODO["report"]
    return Message(
        **fields, hospital=live.hospital.code, hospital_name=live.hospital.name, title=Words(*EVENTS[told.event]), todo=Words(*todo)
    )

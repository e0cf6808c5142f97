"""What the documents of a case say of people and times, read from the record: the orders as they were received.

Read leniently: a document that was taken once must still name its people when the order's type has moved on since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from app.engine.calendar import is_plausible
from app.engine.codes import normalize_text


class _Operated(msgspec.Struct):
    operator: str


class _Member(msgspec.Struct):
    staff: str


class _Declared(msgspec.Struct):
    declared_by: str | None = None
    declared_at: datetime | None = None


class Document(msgspec.Struct):
    """Who is named in an order, and when what was planned and declared."""

    urgency: str
    procedures: list[_Operated] = []
    team: list[_Member] = []
    requester: str | None = None
    planned_start: datetime | None = None
    emergency: _Declared | None = None


def document_of(body: bytes) -> Document:
    """A recorded order."""
    return msgspec.json.decode(body, type=Document)


def named_in(document: Document) -> Iterator[str]:
    """The staff numbers of everybody whom a document names, in their canonical form."""
    named: Iterable[str | None] = (
        *(procedure.operator for procedure in document.procedures),
        *(member.staff for member in document.team),
        document.requester,
        document.emergency.declared_by if document.emergency is not None else None,
    )
    for number in named:
        if tidy := normalize_text(number or ""):
            yield tidy


def earliest(document: Document, opened: datetime) -> datetime:
    """From when on something can have been done about an override: since it was declared. A paper record that was entered later tells by its time
    of declaration or, without one, by its planned start that it was before it was received."""
    declared = document.emergency.declared_at if document.emergency is not None else None
    told = next((instant for instant in (declared, document.planned_start) if instant is not None and is_plausible(instant)), opened)
    return min(told, opened)

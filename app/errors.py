"""The errors that cross module borders. No HTTP in them: `app.api.problems` maps them to answers.

SurgateError
├── BadInput          the content is wrong; every wrong field is named
├── Conflict          it contradicts what is there
├── NotFound          there is no such thing in this hospital
├── NotAllowed        the key may not do that
├── Unauthenticated   no key, or none that is known
└── Retry             not now
    ├── TooMany         too many failed attempts
    ├── NoMatrix        no grant matrix that is fresh enough
    ├── StoreAway       it cannot be done without the database, which is away
    └── Overloaded      no room, or the record cannot be kept
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class FieldError(NamedTuple):
    """One wrong field: where it is (`procedures[0].code`), a stable short code, what is wrong in Chinese and English."""

    field: str
    code: str
    message: str


class RowError(NamedTuple):
    """One mistake in a file: a `FieldError` with its place apart for programs. `row` is counted as a spreadsheet does (in TOML it is the line),
    `column` as the file calls it."""

    field: str
    code: str
    message: str
    file: str
    row: int | None
    column: str | None


class SurgateError(Exception):
    """Base of all errors that a caller is meant to see. `members`: what its problem document says beside the usual."""

    members: Mapping[str, Any] = {}


class BadInput(SurgateError):
    """The content is wrong. `errors` names every field; `malformed` says that it is not even JSON."""

    def __init__(self, errors: Sequence[FieldError | RowError], *, malformed: bool = False) -> None:
        super().__init__("; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in errors))
        self.errors = tuple(errors)
        self.malformed = malformed


class Conflict(SurgateError):
    """It contradicts what is there: a request id with other content, a case of another patient, a step that the state does not allow."""


class NotFound(SurgateError):
    """There is no such thing in this hospital."""


class NotAllowed(SurgateError):
    """The key's roles do not allow it."""


class Unauthenticated(SurgateError):
    """No key, or none that is known here."""


class Retry(SurgateError):
    """Not now: `after_seconds` says when to come back."""

    after_seconds = 1


class TooMany(Retry):
    """Too many failed attempts from one address."""

    after_seconds = 60


class NoMatrix(Retry):
    """There is no grant matrix fresh enough to tell by who may do what. Checks are answered all the same: the engine says so."""

    after_seconds = 10


class StoreAway(Retry):
    """It cannot be done without the database, which is away. Checks are answered all the same."""

    after_seconds = 10


class Overloaded(Retry):
    """No room for one more check, or the record cannot be kept: it is not answered as if it had been."""

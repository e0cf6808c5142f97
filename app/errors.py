"""The errors that cross module borders. No HTTP in them: `app.api` maps them to answers.

SurgateError
└── BadInput          the content is wrong; every wrong field is named
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class FieldError(NamedTuple):
    """One wrong field: where it is (`procedures[0].code`), a stable short code, what is wrong in Chinese and English."""

    field: str
    code: str
    message: str


class SurgateError(Exception):
    """Base of all errors that a caller is meant to see."""


class BadInput(SurgateError):
    """The content is wrong. `errors` names every field; `malformed` says that it is not even JSON."""

    def __init__(self, errors: Sequence[FieldError], *, malformed: bool = False) -> None:
        super().__init__("; ".join(f"{e.field}: {e.message}" for e in errors))
        self.errors = tuple(errors)
        self.malformed = malformed

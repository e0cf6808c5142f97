"""What an import does, row by row, and in sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from app.engine.model import Message, Value
from app.imports.current import Held

HIDDEN = "***"
"""What a diff shows for a secret."""


class Action(StrEnum):
    """KEPT: what was set by hand, or is final, stands against what the file says."""

    ADDED = "added"
    CHANGED = "changed"
    RETIRED = "retired"
    KEPT = "kept"
    UNCHANGED = "unchanged"


class Mode(StrEnum):
    """MERGE adds and changes; REPLACE also retires what the file does not have."""

    MERGE = "merge"
    REPLACE = "replace"


class Step(Value, frozen=True):
    """What becomes of one row. `subject` names it for people; `row` is its row in the file, None where the file does not have it."""

    action: Action
    table: str
    subject: str
    row: int | None
    before: Held | None
    after: Held | None
    why: Message | None = None

    @property
    def writes(self) -> bool:
        """Whether anything is to be written: a kept state may come with other columns that changed."""
        return self.before != self.after


class Counts(Value, frozen=True):
    """How many rows of a table had which fate."""

    added: int = 0
    changed: int = 0
    retired: int = 0
    kept: int = 0
    unchanged: int = 0


class Loosening(Value, frozen=True):
    """Something that the import would allow and that is not allowed now. `what` is a stable word."""

    what: str
    table: str
    subject: str
    message: Message


def counted(steps: Iterable[Step]) -> Counts:
    """The steps' counts."""
    sums = dict.fromkeys(Action, 0)
    for step in steps:
        sums[step.action] += 1
    return Counts(**{action.value: count for action, count in sums.items()})


def shown(held: Held | None) -> dict[str, Any] | None:
    """A row as a diff shows it: plain values, notes among them."""
    if held is None:
        return None
    value = held.value
    plain: Any = {"code": value[0], "national_code": value[1]} if isinstance(value, tuple) else msgspec.to_builtins(value)
    _hide_secrets(plain)
    return {**plain, **held.notes} | ({"retired": True} if held.retired else {})


def differing(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[Any, Any]:
    """Of a changed row, only what differs."""
    if before is None or after is None:
        return before, after
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return {key: before.get(key) for key in keys}, {key: after.get(key) for key in keys}


def _hide_secrets(plain: dict[str, Any]) -> None:
    for target in plain.get("settings", {}).get("notify", ()):
        if "secret" in target:
            target["secret"] = HIDDEN

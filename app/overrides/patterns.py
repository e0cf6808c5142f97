"""What recurs among a hospital's overrides: the same surgeon, code, department or hour again and again, the same words again, and a denial that
turned into an emergency within minutes. Pure: from what the record holds to flags and the facts behind them.

Nothing here denies anything. The flags tell a reviewer where to look, and are input for re-authorization (SGM-2022; H-FC 5.4.10).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from app.engine.model import Value

REPEATED_DAYS = 30
"""How far back repetitions are counted: the domain's window for one surgeon, used for all, so that figures compare."""

REPEATED_FROM: Mapping[str, int] = {"repeated": 3, "repeated_code": 3, "repeated_department": 5, "repeated_hour": 3}
"""From which override on a repetition is flagged: of one surgeon, of one code, of one department, of one department in one hour of the day.
A department has many surgeons, so that more of them are ordinary there."""

REASON_DAYS = 90
LAST_REASONS = 5
"""A declarer's reason is held against that many of their last ones, within `REASON_DAYS`."""

DENIAL_MINUTES = 30
"""A denial of an elective or urgent order that is followed within it by an emergency declaration for the same case: an elective case dressed as an
emergency, perhaps. A patient can get that much worse within half an hour; a reviewer tells which it was."""

FLAGS = (
    "revoked_privilege",
    "suspended_privilege",
    "late",
    "canned_reason",
    "denied_before",
    "other_patient",
    *REPEATED_FROM,
    "repeated_reason",
    "denied_then_emergency",
    "record_unread",
)
"""Every flag that an override can carry: those of the order itself (`engine.override`), then those of the record."""


class Repetition(Value, frozen=True):
    """How often it was, this time included, within so many days. `subject`: the surgeon, code, department or hour. Operations are counted, not
    documents: an emergency that was let through at three checkpoints is one."""

    flag: str
    subject: str
    count: int
    days: int


class PriorDenial(Value, frozen=True):
    """The denial of the same case that came shortly before, and how many minutes."""

    decision_id: str
    checkpoint: str
    urgency: str
    minutes: int


class Patterns(Value, frozen=True):
    """The facts behind the flags. `same_reason`: the declarer's earlier overrides that were declared with the same words; `unread`: the record could not
    be read, so that nothing of this was looked for."""

    repeated: tuple[Repetition, ...] = ()
    same_reason: tuple[str, ...] = ()
    denial: PriorDenial | None = None
    unread: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """In the order of `FLAGS`."""
        raised = {one.flag for one in self.repeated}
        raised |= {"repeated_reason"} if self.same_reason else set()
        raised |= {"denied_then_emergency"} if self.denial is not None else set()
        raised |= {"record_unread"} if self.unread else set()
        return tuple(flag for flag in FLAGS if flag in raised)


class Seen(NamedTuple):
    """An override as far as repetitions go. `at`: RFC 3339 in UTC."""

    id: str
    case_id: str
    department: str
    hour: int
    operators: tuple[str, ...]
    codes: tuple[str, ...]
    reason: str


class Denied(NamedTuple):
    """A denial of a case."""

    decision_id: str
    checkpoint: str
    urgency: str
    at: datetime


def patterns(this: Seen, at: datetime, lately: Sequence[Seen], declared: Iterable[Seen], denials: Iterable[Denied]) -> Patterns:
    """What an override at that instant continues. `lately`: the hospital's overrides of `REPEATED_DAYS`; `declared`: the declarer's of
    `REASON_DAYS`, newest first; `denials`: those of the case and its patient. What belongs to the same case repeats nothing."""
    others = [one for one in lately if one.case_id != this.case_id]
    return Patterns(tuple(_repetitions(this, others)), _same_reason(this, declared), _denial(at, denials))


def _repetitions(this: Seen, others: Sequence[Seen]) -> Iterable[Repetition]:
    hour = (this.department, this.hour)
    for flag, subject, shares in (
        *(("repeated", staff, _has("operators", staff)) for staff in this.operators),
        *(("repeated_code", code, _has("codes", code)) for code in this.codes),
        ("repeated_department", this.department, lambda one: one.department == this.department),
        ("repeated_hour", f"{this.hour:02}", lambda one: (one.department, one.hour) == hour),
    ):
        count = 1 + len({one.case_id for one in others if shares(one)})
        if count >= REPEATED_FROM[flag]:
            yield Repetition(flag, subject, count, REPEATED_DAYS)


def _has(name: str, value: str) -> Callable[[Any], bool]:
    return lambda one: value in getattr(one, name)


def _same_reason(this: Seen, declared: Iterable[Seen]) -> tuple[str, ...]:
    last: dict[str, Seen] = {}
    for one in declared:
        if one.case_id != this.case_id and len(last) < LAST_REASONS:
            last.setdefault(one.case_id, one)
    said = _said(this.reason)
    return tuple(one.id for one in last.values() if _said(one.reason) == said)


def _said(reason: str) -> str:
    """A reason without what tells nothing: blanks, punctuation, width, case."""
    return "".join(c for c in unicodedata.normalize("NFKC", reason).casefold() if c.isalnum())


def _denial(at: datetime, denials: Iterable[Denied]) -> PriorDenial | None:
    """The last denial that was none of an emergency, where it is recent enough."""
    recent = [one for one in denials if one.urgency != "emergency" and timedelta(0) <= at - one.at <= timedelta(minutes=DENIAL_MINUTES)]
    if not recent:
        return None
    last = max(recent, key=lambda one: one.at)
    return PriorDenial(last.decision_id, last.checkpoint, last.urgency, int((at - last.at).total_seconds() // 60))

"""What the review queue is sent and answers: overrides in a list and in full, and the steps that people take on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import asdict

from app.api.http import acting_person
from app.api.office import By
from app.cache.live_hospital import LiveHospital
from app.engine.codes import normalize_text
from app.engine.model import Instant, Text, Value
from app.errors import BadInput, FieldError
from app.overrides.life import OPEN, OverrideAction, OverrideState, allowed
from app.overrides.patterns import Patterns
from app.overrides.steps import Actor
from app.overrides.substitutes import Substitutes
from app.overrides.told import code_name, name_of
from app.store.keys import Key
from app.store.overrides import Step, Stored

At = Annotated[Instant | None, Meta(description="When it was done; now where it is left out.")]


class Report(Value, frozen=True):
    """An override was reported: to whom in the medical affairs office or the duty office (总值班), and when."""

    to: Annotated[str, Meta(min_length=1, max_length=200)]
    by: By | None = None
    at: At = None
    note: Text | None = None


class Takeover(Value, frozen=True):
    """Somebody took the operation over: `by`."""

    by: By | None = None
    at: At = None
    note: Text | None = None


class Outcome(StrEnum):
    """What a review came to."""

    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"


class Review(Value, frozen=True):
    """Without `outcome` the review begins, or a closed one is reopened; with it, it ends. `note` gives the reasons of a verdict or a reopening."""

    by: By | None = None
    outcome: Outcome | None = None
    note: Text | None = None

    @property
    def verdict(self) -> OverrideAction | None:
        """The step that ends the review; None where it begins."""
        return None if self.outcome is None else _VERDICTS[self.outcome]


_VERDICTS = {Outcome.JUSTIFIED: OverrideAction.JUSTIFY, Outcome.UNJUSTIFIED: OverrideAction.UNJUSTIFY}


class NamedPerson(Value, frozen=True):
    """`name` is null for who is not in the register any more."""

    staff: str
    name: str | None


class NamedCode(Value, frozen=True):
    """`name` is null for a code that the catalog does not have."""

    code: str
    name: str | None


class OverrideShown(Value, frozen=True, kw_only=True):
    """An override as it stands. `operators` and `codes`: who was let through, for what. `reported`: a report is on record, whatever came after it.
    `overdue`: its review should be closed by now and is not."""

    id: str
    decision_id: str
    case_id: str
    at: Instant
    department: str
    declared_by: str
    declared_by_name: str | None
    reason_code: str
    reason: str
    operators: tuple[NamedPerson, ...]
    codes: tuple[NamedCode, ...]
    state: OverrideState
    reported: bool
    taken_over_by: str | None
    late: bool
    overdue: bool
    review_due_at: Instant
    flags: tuple[str, ...]


class StepShown(Value, frozen=True, kw_only=True):
    """One step: what the gateway did by itself (`open`, `remind`) and what people did. `at`: when it was done, as told; `by` is empty where the
    gateway did it; `detail`: what else was known, such as whether who took over is privileged."""

    action: str
    state: OverrideState
    by: str
    by_name: str | None
    at: Instant
    recorded_at: Instant
    to: str
    note: str
    detail: Any


class OverrideInFull(OverrideShown, frozen=True, kw_only=True):
    """The same with all that was done. `allowed_steps`: what may be done now; `participants`: whom any document of the case names and who took over:
    none of them reviews it; `can_take_over`: who may, by the matrix as it is now; `patterns`: the facts behind the flags."""

    allowed_steps: tuple[OverrideAction, ...]
    steps: tuple[StepShown, ...]
    participants: tuple[NamedPerson, ...]
    can_take_over: tuple[Substitutes, ...]
    patterns: Patterns


class OverrideList(Value, frozen=True):
    """Newest first."""

    items: tuple[OverrideShown, ...]
    next_cursor: str | None


def actor_of(key: Key, by: str | None) -> Actor:
    """Who takes a step by that call. Raises `BadInput` where nobody is named, or somebody else than the key's person."""
    return Actor(key.hospital, acting_person(key, None if by is None else normalize_text(by)), key.id)


def words(text: str | None) -> str:
    """A note without blanks around it; empty where there is none."""
    return (text or "").strip()


def told_to(body: Report) -> str:
    """Whom a report was made to. Raises `BadInput` for blanks."""
    to = normalize_text(body.to)
    if not to:
        raise BadInput([FieldError("to", "blank", "须写明向谁报告 / say whom it was reported to")])
    return to


def override_shown(live: LiveHospital, one: Stored, now: str) -> OverrideShown:
    """An override as it stands, with the names of today."""
    zone = live.hospital.time_zone
    return OverrideShown(
        id=one.id,
        decision_id=one.decision_id,
        case_id=one.case_id,
        at=_local(one.at, zone),
        department=one.department,
        declared_by=one.declared_by,
        declared_by_name=name_of(live, one.declared_by),
        reason_code=one.reason_code,
        reason=one.reason,
        operators=_people(live, one.operators),
        codes=tuple(NamedCode(code, code_name(live, one.department, code)) for code in one.codes),
        state=one.state,
        reported=one.reported,
        taken_over_by=one.taken_over_by,
        late=one.late,
        overdue=one.overdue(now),
        review_due_at=_local(one.review_due_at, zone),
        flags=one.flags,
    )


def override_in_full(
    live: LiveHospital, one: Stored, now: str, steps: Sequence[Step], participants: Sequence[str], substitutes: tuple[Substitutes, ...]
) -> OverrideInFull:
    """An override with all that was done."""
    opened = next(step for step in steps if step.action == OPEN)
    return OverrideInFull(
        **asdict(override_shown(live, one, now)),
        allowed_steps=allowed(one.state, reported=one.reported),
        steps=tuple(_step_shown(live, step) for step in steps),
        participants=_people(live, participants),
        can_take_over=substitutes,
        patterns=msgspec.convert(opened.detail["patterns"], Patterns),
    )


def _step_shown(live: LiveHospital, step: Step) -> StepShown:
    zone = live.hospital.time_zone
    return StepShown(
        action=step.action,
        state=OverrideState(step.state),
        by=step.by,
        by_name=name_of(live, step.by),
        at=_local(step.at, zone),
        recorded_at=_local(step.recorded_at, zone),
        to=step.to,
        note=step.note,
        detail=step.detail,
    )


def _people(live: LiveHospital, numbers: Sequence[str]) -> tuple[NamedPerson, ...]:
    return tuple(NamedPerson(number, name_of(live, number)) for number in numbers)


def _local(at: str, zone: tzinfo) -> datetime:
    return datetime.fromisoformat(at).astimezone(zone)

"""The life of an override: which step leads from which state to which. The one table of it; pure.

pending_report → reported → (taken_over) → under_review → justified | unjustified. A takeover may come before the report; the report is then still
to be made, and no review begins without it. A closed review is reopened only with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where an override stands."""

    PENDING_REPORT = "pending_report"
    REPORTED = "reported"
    TAKEN_OVER = "taken_over"
    UNDER_REVIEW = "under_review"
    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"


class Action(StrEnum):
    """A step that somebody takes. What the gateway does by itself (open, remind) changes no state."""

    REPORT = "report"
    TAKEOVER = "takeover"
    BEGIN_REVIEW = "begin_review"
    JUSTIFY = "justify"
    UNJUSTIFY = "unjustify"
    REOPEN = "reopen"


OPEN = "open"
REMIND = "remind"

CLOSED = frozenset({State.JUSTIFIED, State.UNJUSTIFIED})

TRANSITIONS: Mapping[tuple[State, Action], State] = {
    (State.PENDING_REPORT, Action.REPORT): State.REPORTED,
    (State.PENDING_REPORT, Action.TAKEOVER): State.TAKEN_OVER,
    (State.REPORTED, Action.TAKEOVER): State.TAKEN_OVER,
    (State.REPORTED, Action.BEGIN_REVIEW): State.UNDER_REVIEW,
    (State.TAKEN_OVER, Action.REPORT): State.TAKEN_OVER,
    (State.TAKEN_OVER, Action.BEGIN_REVIEW): State.UNDER_REVIEW,
    (State.UNDER_REVIEW, Action.JUSTIFY): State.JUSTIFIED,
    (State.UNDER_REVIEW, Action.UNJUSTIFY): State.UNJUSTIFIED,
    (State.JUSTIFIED, Action.REOPEN): State.UNDER_REVIEW,
    (State.UNJUSTIFIED, Action.REOPEN): State.UNDER_REVIEW,
}

_ASKS_FOR_REPORT: Mapping[Action, bool] = {Action.REPORT: False, Action.BEGIN_REVIEW: True}
"""Where it matters whether a report is on record: it is made once, and no review begins without it."""


def after(state: State, action: Action, *, reported: bool) -> State | None:
    """The state after a step; None where it is not allowed. `reported`: a report is on record."""
    if _ASKS_FOR_REPORT.get(action, reported) is not reported:
        return None
    return TRANSITIONS.get((state, action))


def allowed(state: State, *, reported: bool) -> tuple[Action, ...]:
    """The steps that may be taken now."""
    return tuple(action for action in Action if after(state, action, reported=reported) is not None)

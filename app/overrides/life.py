"""The life of an override: which step leads from which state to which. The one table of it; pure.

pending_report → reported → (taken_over) → under_review → justified | unjustified. A takeover may come before the report; the report is then still
to be made, and no review begins without it. A closed review is reopened only with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class OverrideState(StrEnum):
    """Where an override stands."""

    PENDING_REPORT = "pending_report"
    REPORTED = "reported"
    TAKEN_OVER = "taken_over"
    UNDER_REVIEW = "under_review"
    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"


class OverrideAction(StrEnum):
    """A step that somebody takes. What the gateway does by itself (open, remind) changes no state."""

    REPORT = "report"
    TAKEOVER = "takeover"
    BEGIN_REVIEW = "begin_review"
    JUSTIFY = "justify"
    UNJUSTIFY = "unjustify"
    REOPEN = "reopen"


OPEN = "open"
REMIND = "remind"

CLOSED = frozenset({OverrideState.JUSTIFIED, OverrideState.UNJUSTIFIED})

TRANSITIONS: Mapping[tuple[OverrideState, OverrideAction], OverrideState] = {
    (OverrideState.PENDING_REPORT, OverrideAction.REPORT): OverrideState.REPORTED,
    (OverrideState.PENDING_REPORT, OverrideAction.TAKEOVER): OverrideState.TAKEN_OVER,
    (OverrideState.REPORTED, OverrideAction.TAKEOVER): OverrideState.TAKEN_OVER,
    (OverrideState.REPORTED, OverrideAction.BEGIN_REVIEW): OverrideState.UNDER_REVIEW,
    (OverrideState.TAKEN_OVER, OverrideAction.REPORT): OverrideState.TAKEN_OVER,
    (OverrideState.TAKEN_OVER, OverrideAction.BEGIN_REVIEW): OverrideState.UNDER_REVIEW,
    (OverrideState.UNDER_REVIEW, OverrideAction.JUSTIFY): OverrideState.JUSTIFIED,
    (OverrideState.UNDER_REVIEW, OverrideAction.UNJUSTIFY): OverrideState.UNJUSTIFIED,
    (OverrideState.JUSTIFIED, OverrideAction.REOPEN): OverrideState.UNDER_REVIEW,
    (OverrideState.UNJUSTIFIED, OverrideAction.REOPEN): OverrideState.UNDER_REVIEW,
}

_ASKS_FOR_REPORT: Mapping[OverrideAction, bool] = {OverrideAction.REPORT: False, OverrideAction.BEGIN_REVIEW: True}
"""Where it matters whether a report is on record: it is made once, and no review begins without it."""


def after(state: OverrideState, action: OverrideAction, *, reported: bool) -> OverrideState | None:
    """The state after a step; None where it is not allowed. `reported`: a report is on record."""
    if _ASKS_FOR_REPORT.get(action, reported) is not reported:
        return None
    return TRANSITIONS.get((state, action))


def allowed(state: OverrideState, *, reported: bool) -> tuple[OverrideAction, ...]:
    """The steps that may be taken now."""
    return tuple(action for action in OverrideAction if after(state, action, reported=reported) is not None)

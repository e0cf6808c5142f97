"""The table of an override's life, over every state and step."""

from __future__ import annotations

import pytest

from app.overrides.life import CLOSED, OverrideAction, OverrideState, after, allowed

A, S = OverrideAction, OverrideState

ALLOWED: dict[tuple[OverrideState, bool], dict[OverrideAction, OverrideState]] = {
    (S.PENDING_REPORT, False): {A.REPORT: S.REPORTED, A.TAKEOVER: S.TAKEN_OVER},
    (S.REPORTED, True): {A.TAKEOVER: S.TAKEN_OVER, A.BEGIN_REVIEW: S.UNDER_REVIEW},
    (S.TAKEN_OVER, False): {A.REPORT: S.TAKEN_OVER},
    (S.TAKEN_OVER, True): {A.BEGIN_REVIEW: S.UNDER_REVIEW},
    (S.UNDER_REVIEW, True): {A.JUSTIFY: S.JUSTIFIED, A.UNJUSTIFY: S.UNJUSTIFIED},
    (S.JUSTIFIED, True): {A.REOPEN: S.UNDER_REVIEW},
    (S.UNJUSTIFIED, True): {A.REOPEN: S.UNDER_REVIEW},
}
"""Written out a second time, with what can be: a state with whether a report is on record."""


@pytest.mark.parametrize("standing", ALLOWED, ids=str)
@pytest.mark.parametrize("action", OverrideAction)
def test_every_step_in_every_state(standing: tuple[OverrideState, bool], action: OverrideAction) -> None:
    state, reported = standing
    assert after(state, action, reported=reported) == ALLOWED[standing].get(action)
    assert (action in allowed(state, reported=reported)) is (action in ALLOWED[standing])


def test_whatever_is_done_leads_only_to_what_can_be() -> None:
    for (state, reported), steps in ALLOWED.items():
        for action, then in steps.items():
            assert (then, reported or action is A.REPORT) in ALLOWED, (state, action)


def test_every_override_can_come_to_a_verdict_and_never_without_a_report() -> None:
    seen = {(S.PENDING_REPORT, False)}
    while new := {(then, r or a is A.REPORT) for s, r in seen for a, then in ALLOWED[s, r].items()} - seen:
        seen |= new
    assert seen == set(ALLOWED)
    assert all(reported for state, reported in seen if state in CLOSED)

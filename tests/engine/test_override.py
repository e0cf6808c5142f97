"""The emergency override as a pure decision: what lifts what, what is missing, what it brings with it."""

from __future__ import annotations

from typing import Any

import pytest

from app.engine.model import Decision, Verdict
from tests.cases.world import world

DECLARATION = {
    "lifesaving": True,
    "no_privileged_operator": True,
    "reason_code": "airway",
    "reason": "气道梗阻，来不及等上级",
    "declared_by": "100002",
}
DENIED: dict[str, Any] = {"order.procedures.0.operator": "100002", "order.urgency": "emergency"}


def _declared(**changes: Any) -> Decision:
    return world(DENIED | {"order.emergency": DECLARATION | changes}).decide()


def test_a_valid_declaration_makes_an_override() -> None:
    decision = _declared()
    assert decision.decision is Verdict.OVERRIDE
    assert decision.procedures[0].decision is Verdict.OVERRIDE
    assert [f.code for f in decision.procedures[0].findings] == ["grant_missing"]
    assert [c.staff for c in decision.procedures[0].operators] == ["100001"]
    assert {"report_medical_affairs", "reach_senior", "hand_over"} <= {o.code for o in decision.obligations}
    assert decision.override is not None
    assert (decision.override.state, decision.override.late, decision.override.missing) == ("pending_report", False, ())
    assert decision.override.review_due_at is not None
    assert decision.override.review_due_at.isoformat() == "2026-11-25T17:30:00+08:00"
    assert not decision.overridable


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"lifesaving": None}, "lifesaving"),
        ({"lifesaving": False}, "lifesaving"),
        ({"no_privileged_operator": None}, "no_privileged_operator"),
        ({"reason_code": "because"}, "reason_code"),
        ({"reason_code": None}, "reason_code"),
        ({"reason": "急诊"}, "reason"),
        ({"reason": "  急 诊    "}, "reason"),
        ({"declared_by": "999999"}, "declared_by"),
        ({"declared_by": " "}, "declared_by"),
        ({"declared_by": "100003"}, "declared_by"),  # in the register, not on the case
        ({"reason": "\u200b\u200b\u200b\u200b\u200b\u200b"}, "reason"),
    ],
)
def test_an_incomplete_declaration_is_answered_with_what_is_missing(change: dict[str, Any], missing: str) -> None:
    decision = _declared(**change)
    assert decision.decision is Verdict.DENY
    assert decision.overridable
    assert decision.override is not None
    assert decision.override.id is None
    assert decision.override.missing == (missing,)


def test_everything_missing_is_named_at_once() -> None:
    decision = world(DENIED | {"order.urgency": "urgent", "order.emergency": {}}).decide()
    assert decision.override is not None
    assert decision.override.missing == ("urgency", "lifesaving", "no_privileged_operator", "reason_code", "reason", "declared_by")


def test_a_final_finding_is_never_lifted() -> None:
    decision = world(DENIED | {"order.procedures.0.code": "04.07001", "order.emergency": DECLARATION}).decide()
    assert decision.decision is Verdict.DENY
    assert not decision.overridable
    assert decision.override is not None
    assert decision.override.id is None


def test_a_declaration_on_a_case_that_is_allowed_anyway_changes_nothing() -> None:
    decision = world({"order.urgency": "emergency", "order.emergency": DECLARATION}).decide()
    assert decision.decision is Verdict.ALLOW
    assert decision.override is None


def test_after_the_planned_start_it_is_late() -> None:
    decision = world(DENIED | {"order.emergency": DECLARATION, "order.planned_start": "2026-11-22T08:59:59+08:00"}).decide()
    assert decision.override is not None
    assert decision.override.late
    assert decision.override.flags == ("late",)


def test_declared_before_but_received_in_time_is_not_late() -> None:
    decision = _declared(declared_at="2026-11-22T08:00:00+08:00")
    assert decision.override is not None
    assert not decision.override.late


@pytest.mark.parametrize(("state", "flag"), [("revoked", "revoked_privilege"), ("suspended", "suspended_privilege")])
def test_a_revoked_or_suspended_privilege_is_flagged(state: str, flag: str) -> None:
    changes = {"people.100001.grants.0.state": state, "order.urgency": "emergency", "order.emergency": DECLARATION}
    decision = world(changes).decide()
    assert decision.decision is Verdict.OVERRIDE
    assert decision.override is not None
    assert decision.override.flags == (flag,)


def test_a_declarer_who_has_left_is_not_known_staff() -> None:
    on_case = {"order.requester": "100003", "order.emergency": DECLARATION | {"declared_by": "100003"}}
    assert world(DENIED | on_case).decide().decision is Verdict.OVERRIDE
    decision = world(DENIED | on_case | {"people.100003.staff.status": "left"}).decide()
    assert decision.override is not None
    assert decision.override.missing == ("declared_by",)
    assert decision.message.zh.endswith("紧急声明不完整，缺少或无效：declared_by。申报人须为本单所列的在册人员。")


@pytest.mark.parametrize("reason", ["急诊急诊急诊", "。。。。。。", "aaaaaa 1"])
def test_a_reason_that_is_empty_of_content_is_flagged(reason: str) -> None:
    decision = _declared(reason=reason)
    assert decision.override is not None
    assert decision.override.flags == ("canned_reason",)


def test_a_revoked_privilege_is_flagged_beside_a_nearer_finding() -> None:
    expired = {
        "id": "g-old",
        "staff": "100001",
        "scope_type": "item",
        "scope": "A3.2",
        "valid_from": "2025-01-01",
        "valid_to": "2025-12-31",
    }
    changes = {"people.100001.grants.0.state": "revoked", "people.100001.grants.2": expired}
    decision = world(changes | {"order.urgency": "emergency", "order.emergency": DECLARATION}).decide()
    assert [f.code for f in decision.procedures[0].findings] == ["grant_expired"]
    assert decision.override is not None
    assert decision.override.flags == ("revoked_privilege",)


def test_denied_before_is_flagged() -> None:
    history = {"patient_id": "P-1", "decisions": [{"checkpoint": "order", "decision": "deny", "procedures": []}]}
    decision = world(DENIED | {"order.emergency": DECLARATION, "history": history}).decide()
    assert decision.override is not None
    assert decision.override.flags == ("denied_before",)


def test_the_case_id_of_another_patient_in_an_emergency_is_a_new_case_and_flagged() -> None:
    history = {"patient_id": "P-2", "decisions": [{"checkpoint": "order", "decision": "deny", "procedures": []}]}
    decision = world(DENIED | {"order.emergency": DECLARATION, "history": history}).decide()
    assert decision.override is not None
    assert decision.override.flags == ("other_patient",)


def test_a_report_that_came_with_it_is_taken_as_reported() -> None:
    decision = _declared(reported_to="总值班 刘", reported_at="2026-11-22T08:58:00+08:00")
    assert decision.override is not None
    assert decision.override.state == "reported"


def test_without_a_matrix_the_declarer_is_taken_at_their_word() -> None:
    """An emergency is never blocked by us."""
    decision = world(DENIED | {"people": None, "order.emergency": DECLARATION}).decide()
    assert decision.decision is Verdict.OVERRIDE

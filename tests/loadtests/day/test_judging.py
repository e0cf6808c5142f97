"""What is wrong with an answer is seen and named; what is right passes."""

from __future__ import annotations

from typing import Any

import pytest

from loadtests.day.cases import Case, Check, Expected, Maker, check
from loadtests.day.judging import wrong_case, wrong_decision, wrong_diff, wrong_reading, wrong_replay


def sent(case: Case, *expected: Any) -> Check:
    case.expected = Expected(*expected)
    return check(case, "order")


def answer(to: Check, decision: str, *reasons: str, **more: Any) -> dict[str, Any]:
    same = {name: to.body[name] for name in ("request_id", "case_id", "checkpoint")}
    procedures = [{"findings": [{"code": code} for code in reasons]}]
    return same | {"decision_id": "D1", "decision": decision, "procedures": procedures, "replayed": False} | more


def test_right_answers_pass(maker: Maker) -> None:
    case, why = maker.elective(), frozenset({"grant_expired", "grant_missing"})
    order = sent(case, "allow")
    assert wrong_decision(order, answer(order, "allow")) == []
    order = sent(case, "deny", why)
    assert wrong_decision(order, answer(order, "deny", "grant_missing", "mdt_missing")) == []
    order = sent(case, "override", why)
    assert wrong_decision(order, answer(order, "override", "grant_missing", override={"id": "O1", "missing": []})) == []
    order = sent(case, "deny", why, ("reason",))
    assert wrong_decision(order, answer(order, "deny", "grant_missing", override={"id": None, "missing": ["reason"]})) == []


def test_an_allow_where_a_denial_was_due_is_wrong(maker: Maker) -> None:
    order = sent(maker.elective(), "deny", frozenset({"grant_missing"}))
    (wrong,) = wrong_decision(order, answer(order, "allow"))
    assert "allow where deny (grant_missing) was due" in wrong


def test_a_denial_for_another_reason_is_wrong(maker: Maker) -> None:
    order = sent(maker.elective(), "deny", frozenset({"grant_missing"}))
    (wrong,) = wrong_decision(order, answer(order, "deny", "rule_failed"))
    assert "rule_failed" in wrong


@pytest.mark.parametrize("name", ["request_id", "case_id", "checkpoint"])
def test_an_answer_to_another_check_is_wrong(maker: Maker, name: str) -> None:
    order = sent(maker.elective(), "allow")
    assert len(wrong_decision(order, answer(order, "allow", **{name: "other"}))) == 1


def test_an_override_needs_its_review_and_an_incomplete_one_what_it_lacks(maker: Maker) -> None:
    order = sent(maker.emergency(), "override")
    assert wrong_decision(order, answer(order, "override", override={"id": None, "missing": []}))
    order = sent(maker.emergency(), "deny", frozenset(), ("reason",))
    assert wrong_decision(order, answer(order, "deny", override=None))


def test_a_replayed_answer_is_the_first_one(maker: Maker) -> None:
    first = answer(sent(maker.elective(), "allow"), "allow")
    assert wrong_replay(first, first | {"replayed": True}) == []
    assert wrong_replay(first | {"replayed": True}, first | {"replayed": True}) == []
    assert "second time" in wrong_replay(first, first | {"decision_id": "D2"})[0]
    assert "decision_id" in wrong_replay(first, first | {"decision_id": "D2", "replayed": True})[0]
    assert "level" in wrong_replay(first, first | {"level": 3, "replayed": True})[0]


def test_what_is_read_back_is_what_was_answered(maker: Maker) -> None:
    case = maker.elective()
    told = answer(check(case, "order"), "allow")
    case.decided["order"] = told
    assert wrong_reading(case, "order", told | {"record": {}}) == []
    assert "decision" in wrong_reading(case, "order", told | {"decision": "deny"})[0]
    kept = {"checkpoints": [told], "standing": {"decision": "allow"}}
    assert wrong_case(case, kept) == []
    assert len(wrong_case(case, kept | {"checkpoints": [told, told]})) == 1
    assert len(wrong_case(case, kept | {"standing": {"decision": "deny"}})) == 1


def test_an_import_of_what_was_exported_changes_nothing() -> None:
    counts = {"added": 0, "changed": 0, "retired": 0, "kept": 0, "unchanged": 7}
    assert wrong_diff({"counts": counts, "dry_run": True}, dry_run=True) == []
    assert len(wrong_diff({"counts": counts | {"changed": 1}, "dry_run": True}, dry_run=True)) == 1
    assert len(wrong_diff({"counts": counts, "dry_run": False}, dry_run=True)) == 1

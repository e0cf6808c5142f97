"""Every reason code is found where it should be, and not where it nearly should: the cases of the YAML files, through both engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.engine.model import Decision, Finding
from app.engine.reasons import REASONS
from tests.cases.world import HERE, read, world

CASES = [case for file in sorted(HERE.glob("*.yaml")) if file.name != "base.yaml" for case in read(file.name)]
ELSEWHERE = {"rule_failed"}
"""Tested in `tests/engine/test_orders_in_full.py`: a rule has to be broken for it."""


def _id(case: dict[str, Any]) -> str:
    kind = "find" if "find" in case else "near_miss"
    return f"{kind}-{case[kind]}-{case['name']}".replace(" ", "_")


def test_every_reason_code_has_a_find_and_a_near_miss() -> None:
    for kind in ("find", "near_miss"):
        assert {case[kind] for case in CASES if kind in case} | ELSEWHERE == set(REASONS)


def test_names_are_unique() -> None:
    names = [_id(case) for case in CASES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_case(case: dict[str, Any]) -> None:
    decision = world(case["change"]).decide()
    expect = dict(case["expect"])
    found = list(_findings(decision))
    codes = [finding.code for _, finding in found]
    assert "rule_failed" not in codes, found
    assert decision.decision.value == expect.pop("decision"), found
    if "find" in case:
        _expect_found(decision, case["find"], expect, found)
    else:
        assert case["near_miss"] not in codes, found
        if "has" in expect:
            assert expect.pop("has") in codes
    _expect_rest(decision, expect)


def _expect_found(decision: Decision, code: str, expect: dict[str, Any], found: list[tuple[str, Finding]]) -> None:
    matching = [finding for at, finding in found if finding.code == code and at == expect.get("at", at)]
    expect.pop("at", None)
    assert len(matching) == 1, found
    finding = matching[0]
    assert finding.message.zh
    assert finding.message.en
    assert "?" not in finding.message.zh + finding.message.en, finding.message
    assert finding.basis
    if "disposition" in expect:
        assert finding.disposition.value == expect.pop("disposition")
    facts = expect.pop("facts", {})
    assert {name: finding.facts.get(name) for name in facts} == facts
    if decision.decision.value == "deny":
        assert decision.message.zh


def _expect_rest(decision: Decision, expect: dict[str, Any]) -> None:
    procedure = decision.procedures[0]
    seen = {
        "overridable": decision.overridable,
        "level": procedure.level,
        "entry": procedure.entry,
        "candidates": len(procedure.candidates),
        "technologies": list(procedure.technologies),
        "operators": [colleague.staff for colleague in procedure.operators],
        "obligations": sorted(obligation.code for obligation in decision.obligations),
    }
    assert {name: seen[name] for name in expect} == {name: sorted(v) if name == "obligations" else v for name, v in expect.items()}


def _findings(decision: Decision) -> Iterator[tuple[str, Finding]]:
    yield from (("case", finding) for finding in decision.findings)
    for index, procedure in enumerate(decision.procedures):
        yield from ((f"procedures[{index}]", finding) for finding in procedure.findings)
    for index, member in enumerate(decision.team):
        yield from ((f"team[{index}]", finding) for finding in member.findings)

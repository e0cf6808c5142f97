"""Orders with several procedures, operators and combinations; narrowing; who else may operate; what a rule's failure does."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import msgspec
import pytest

from app.engine import checkpoints
from app.engine.decide import OtherPatient
from app.engine.history import extended
from app.engine.hospital import CompiledHospital
from app.engine.model import ByCheckpoint, Checkpoint, Disposition, Urgency, Verdict
from app.engine.reasons import BY_CHECKPOINT, REASONS, refuse_disposition
from tests.cases.world import World, world

COMBINATION: dict[str, Any] = {
    "hospital.entries.2": {
        "code": "37.26001+37.34001",
        "name": "心电生理检查+射频消融术",
        "level": 4,
        "departments": ["胸心外科"],
        "item": "X4",
    },
    "hospital.entries.5": {"code": "37.26001", "name": "心电生理检查", "level": 3, "departments": ["胸心外科"], "item": "X3"},
    "hospital.entries.7": {"code": "37.34001", "name": "射频消融术", "level": 3, "departments": ["胸心外科"], "item": "Y3"},
}
PARTS = [{"code": "37.26001", "operator": "100001"}, {"code": "37.34001", "operator": "100001"}]


def _grant(scope: str, scope_type: str = "item") -> dict[str, Any]:
    return {"id": f"g-{scope}", "staff": "100001", "scope_type": scope_type, "scope": scope, "valid_from": "2026-01-01"}


def test_one_denied_procedure_denies_the_case_and_only_that_procedure() -> None:
    procedures = [{"code": "35.71001", "operator": "100001"}, {"code": "35.71001", "operator": "100002"}]
    decision = world({"order.procedures": procedures}).decide()
    assert decision.decision is Verdict.DENY
    assert [p.decision for p in decision.procedures] == [Verdict.ALLOW, Verdict.DENY]
    assert decision.message.zh.startswith("李二")


def test_a_combination_sent_whole_in_either_order() -> None:
    changes = COMBINATION | {"people.100001.grants.0": _grant("X4"), "order.evidence": {"mdt": "M"}}
    for code in ("37.26001+37.34001", "37.34001+37.26001"):
        decision = world(changes | {"order.procedures.0.code": code}).decide()
        assert decision.decision is Verdict.ALLOW
        assert decision.procedures[0].as_sent == code


def test_all_parts_as_separate_procedures_are_judged_as_the_combination() -> None:
    parts_only = COMBINATION | {"people.100001.grants.0": _grant("X3"), "people.100001.grants.2": _grant("Y3"), "order.procedures": PARTS}
    decision = world(parts_only).decide()
    assert [p.decision for p in decision.procedures] == [Verdict.DENY, Verdict.DENY]
    assert {p.entry for p in decision.procedures} == {"37.26001+37.34001"}
    assert decision.level == 4
    combined = world(COMBINATION | {"people.100001.grants.0": _grant("X4"), "order.procedures": PARTS}).decide()
    assert combined.decision is Verdict.ALLOW


def test_one_part_alone_is_judged_as_itself() -> None:
    decision = world(COMBINATION | {"people.100001.grants.0": _grant("X3"), "order.procedures": PARTS[:1]}).decide()
    assert (decision.decision, decision.level) == (Verdict.ALLOW, 3)


def test_the_parts_of_an_unknown_combination_still_count() -> None:
    decision = world({"order.procedures.0.code": "38.45001+99.99001", "hospital.entries.3.flags": ["stopped"]}).decide()
    assert {f.code for f in decision.procedures[0].findings} >= {"code_unknown", "technology_stopped"}
    assert decision.level == 4
    assert not decision.overridable


@pytest.mark.parametrize(
    ("selectors", "kept"),
    [
        ({}, 2),
        ({"item": "P4.1"}, 1),
        ({"service": "A1"}, 1),
        ({"name": "冠状动脉支架置入术 (复杂)#"}, 1),
        ({"item": "P4.1", "service": "A1"}, 1),
        ({"item": "P4.1", "service": "A2"}, 2),  # they point to different entries: none narrows
        ({"item": "UNKNOWN"}, 2),  # passed over
        ({"item": "UNKNOWN", "service": "A2"}, 1),
    ],
)
def test_narrowing(selectors: dict[str, str], kept: int) -> None:
    decision = world({"order.procedures.0": {"code": "36.06001", "operator": "100001", **selectors}}).decide()
    assert len(decision.procedures[0].candidates) == (kept if kept > 1 else 0)


def test_includes_is_transitive_but_never_reaches_a_higher_level() -> None:
    def chain(level_of_last: int) -> Verdict:
        changes = {
            "hospital.entries.2": {
                "code": "88.56001",
                "name": "冠脉造影",
                "level": 3,
                "departments": ["胸心外科"],
                "item": "CAG",
                "includes": ["88.53002"],
            },
            "hospital.entries.5": {"code": "88.53002", "name": "左室造影", "level": 3, "departments": ["胸心外科"], "includes": ["RAG"]},
            "hospital.entries.7": {
                "code": "88.45001",
                "name": "肾动脉造影",
                "level": level_of_last,
                "departments": ["胸心外科"],
                "item": "RAG",
            },
            "people.100001.grants.0": _grant("CAG"),
            "people.100001.grants.11": _grant("NOTHING"),
            "order.procedures.0.code": "88.45001",
        }
        return world(changes).decide().decision

    assert chain(3) is Verdict.ALLOW
    assert chain(4) is Verdict.DENY


def test_who_else_may_operate_own_department_first() -> None:
    base = world({})
    assert base.people is not None
    colleague = base.people["100001"]
    changes = {
        "people.100008": _other(colleague, "100008", "心内科"),
        "people.100009": _other(colleague, "100009", "胸心外科"),
        "order.procedures.0.operator": "100002",
    }
    decision = world(changes).decide()
    assert [c.staff for c in decision.procedures[0].operators] == ["100001", "100009", "100008"]


def _on_duty(number: str, starts: str, ends: str) -> dict[str, Any]:
    return {"staff": number, "starts": f"2026-11-{starts}:00+00:00", "ends": f"2026-11-{ends}:00+00:00"}


@pytest.mark.parametrize(("urgency", "listed"), [("emergency", ["8", "7", "1", "9"]), ("urgent", ["1", "8", "9", "7"])])
def test_in_an_emergency_who_is_on_duty_comes_first_and_is_marked_always(urgency: str, listed: list[str]) -> None:
    """9 has been on duty until now; 8 of the own department and 7 of another are from now on."""
    base = world({})
    assert base.people is not None
    at = base.now.astimezone(UTC).strftime("%dT%H:%M")
    duty = {"7": (at, "30T00:00"), "8": (at, "30T00:00"), "9": ("01T00:00", at)}
    changes: dict[str, Any] = {"order.procedures.0.operator": "100002", "order.urgency": urgency}
    for last, turn in duty.items():
        number, department = f"10000{last}", "心内科" if last == "7" else "胸心外科"
        other = _other(base.people["100001"], number, department)
        changes[f"people.{number}"] = other | {"duty": [_on_duty(number, *turn)]}
    decision = world(changes).decide()
    assert [c.staff[-1] for c in decision.procedures[0].operators] == listed
    assert {c.staff[-1] for c in decision.procedures[0].operators if c.on_duty} == {"7", "8"}


def test_in_an_emergency_an_anesthesiologist_on_duty_comes_first() -> None:
    base = world({})
    assert base.people is not None
    usual = msgspec.to_builtins(base.people["200001"])
    changes: dict[str, Any] = {"order.urgency": "emergency", "order.team.0": {"staff": "100001", "role": "anesthesiologist"}}
    for number in ("200008", "200009"):
        grants = [grant | {"id": f"{grant['id']}-{number}", "staff": number} for grant in usual["grants"]]
        changes[f"people.{number}"] = {"staff": usual["staff"] | {"staff": number}, "grants": grants}
    assert [c.staff for c in world(changes).decide().team[0].operators] == ["200001", "200008", "200009"]
    changes["people.200009"] |= {"duty": [_on_duty("200009", "01T00:00", "30T00:00")]}
    assert [c.staff for c in world(changes).decide().team[0].operators] == ["200009", "200001", "200008"]


def _other(person: Any, number: str, department: str) -> dict[str, Any]:
    grant = {"id": f"g-{number}", "staff": number, "scope_type": "item", "scope": "A3.2", "valid_from": "2026-01-01"}
    staff = {"staff": number, "name": f"同事{number}", "department": department, "kind": "physician", "license_no": "L"}
    return {"staff": staff, "grants": [grant]}


def test_nobody_is_listed_where_a_final_finding_of_the_case_bars_everybody() -> None:
    decision = world({"order.procedures.0.operator": "100002", "order.requester": "999999"}).decide()
    assert decision.procedures[0].operators == ()


def test_the_case_stays_with_its_first_patient() -> None:
    first = world({})
    history = extended(None, first.order, first.decide())
    other = world({"order.patient.id": "P-2", "order.urgency": "emergency", "history": msgspec.to_builtins(history)})
    decision = other.decide()
    assert decision.flags == ("other_patient",)
    assert extended(history, other.order, decision) == history


def test_another_patient_under_the_same_case_id_is_refused() -> None:
    with pytest.raises(OtherPatient):
        world({"history": {"patient_id": "P-2", "decisions": []}}).decide()


def test_a_rule_that_raises_never_counts_as_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(ctx: object) -> tuple[()]:
        raise ZeroDivisionError

    every = checkpoints.RULES[Checkpoint.ORDER].every
    procedure = (*every.procedure, checkpoints.Rule(("mdt_missing",), broken))
    rules = checkpoints.rules_of(checkpoints.RuleSet(every.case, procedure, every.member))
    monkeypatch.setitem(checkpoints.RULES, Checkpoint.ORDER, rules)
    decision = world({}).decide()
    assert decision.decision is Verdict.DENY
    assert decision.overridable
    finding = decision.procedures[0].findings[0]
    assert (finding.code, finding.facts) == ("rule_failed", {"rule": "broken", "error": "ZeroDivisionError"})


def test_a_rule_that_does_not_raise_is_no_rule_failed() -> None:
    assert world({}).decide().procedures[0].findings == ()


class TestPolicy:
    @pytest.mark.parametrize("code", ["prohibited_technology", "staff_unknown", "license_invalid"])
    def test_what_must_stay_final(self, code: str) -> None:
        assert refuse_disposition(code, Disposition.OVERRIDABLE)
        assert refuse_disposition(code, Disposition.FINAL) is None

    @pytest.mark.parametrize(
        "code", [c for c in REASONS if c.startswith("grant_")] + ["staff_suspended", "technology_stopped", "rule_failed"]
    )
    def test_what_is_never_below_overridable(self, code: str) -> None:
        assert refuse_disposition(code, Disposition.OBLIGATION)
        assert refuse_disposition(code, Disposition.OVERRIDABLE) is None

    def test_a_policy_that_slipped_through_is_raised_to_the_floor(self) -> None:
        decision = world({"hospital.policy": {"dispositions": {"grant_missing": "info"}}, "order.procedures.0.operator": "100002"}).decide()
        assert decision.decision is Verdict.DENY

    def test_tightening_and_loosening(self) -> None:
        unknown: dict[str, Any] = {"order.procedures.0.code": "35.72001"}
        tight = world(unknown | {"hospital.policy": {"dispositions": {"code_unknown": "final"}}}).decide()
        assert (tight.decision, tight.overridable) == (Verdict.DENY, False)
        due: dict[str, Any] = {"people.100001.staff.requalification": "due"}
        loose = world(due | {"hospital.policy": {"dispositions": {"requalification_due": "obligation"}}}).decide()
        assert loose.decision is Verdict.ALLOW
        assert [o.code for o in loose.obligations] == ["requalification_due"]

    def test_loosening_the_lack_of_an_entry_leaves_the_grants_to_be_asked_for(self) -> None:
        unknown = world({"order.procedures.0.code": "35.72001", "hospital.policy": {"dispositions": {"code_unknown": "info"}}}).decide()
        assert [f.code for f in unknown.procedures[0].findings] == ["code_unknown", "grant_missing"]
        policy = {"hospital.policy": {"dispositions": {"department_not_listed": "info"}}, "order.department": "心内科"}
        # Two entries dropped out, and the operator holds only the grant of one.
        held = world(policy).decide()
        assert [f.code for f in held.procedures[0].findings] == [
            "department_not_listed",
            "grant_department_mismatch",
        ] or held.decision is Verdict.DENY

    def test_by_checkpoint_rules_relax_at_the_order_during_the_operation_and_in_an_emergency(self) -> None:
        hospital = _compiled(world({}))
        for code in BY_CHECKPOINT:
            seen = {(c, u): hospital.disposition(code, c, u) for c in Checkpoint for u in Urgency}
            strict = {key for key, disposition in seen.items() if disposition is Disposition.OVERRIDABLE}
            assert strict == {(c, u) for c in (Checkpoint.NOTICE, Checkpoint.ANESTHESIA) for u in (Urgency.ELECTIVE, Urgency.URGENT)}

    def test_a_table_speaks_per_checkpoint_and_for_emergencies_only_by_its_key(self) -> None:
        changes = {"hospital.policy": {"dispositions": {"mdt_missing": {"notice": "final", "emergency": "overridable"}}}}
        hospital = _compiled(world(changes))
        assert hospital.disposition("mdt_missing", Checkpoint.NOTICE, Urgency.URGENT) is Disposition.FINAL
        assert hospital.disposition("mdt_missing", Checkpoint.NOTICE, Urgency.EMERGENCY) is Disposition.OVERRIDABLE
        assert hospital.disposition("mdt_missing", Checkpoint.ORDER, Urgency.URGENT) is Disposition.OBLIGATION
        assert ByCheckpoint(notice=Disposition.FINAL).emergency is None


def _compiled(made: World) -> CompiledHospital:
    return CompiledHospital(made.hospital)

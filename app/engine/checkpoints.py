"""Which rules run where: one table per subject, and what each rule looks at (for `explain`).

Adding a rule is adding its function, a row here, its reason code with texts in `engine.reasons`, and its cases in `tests/cases/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from app.engine.model import Checkpoint, TeamRole, Value
from app.engine.rules import case, catalog, evidence, grants, people, technology, theatre
from app.engine.rules.found import Found


class Rule(Value, frozen=True):
    """A rule: the reason codes that it can give, its function, and the attributes of its context that it looks at.

    `about_operator`: it looks at the person named; somebody else might pass it. `looks_for`: what must be there for it to find anything; where
    that is not there, it need not be run:

    - `technology`: a technology or a flag of the procedure;
    - `doubt`: a doubt about the standing of the person named (`PersonRow.clear_until`);
    - `lack`: an entry that the operator is not granted, or none at all;
    - `patient`: a flag of the patient.
    """

    codes: tuple[str, ...]
    test: Callable[[Any], tuple[Found, ...]]
    sees: tuple[str, ...] = ()
    about_operator: bool = False
    looks_for: Literal["", "technology", "doubt", "lack", "patient"] = ""

    @property
    def name(self) -> str:
        return self.test.__name__


class RuleSet(Value, frozen=True):
    """The rules of one checkpoint, by subject."""

    case: tuple[Rule, ...]
    procedure: tuple[Rule, ...]
    member: Mapping[TeamRole, tuple[Rule, ...]]


class Rules(Value, frozen=True):
    """The rules of one checkpoint: every one, and those that are left where nothing is there that the others look for. Most orders are such."""

    every: RuleSet
    plain: RuleSet


def rules_of(every: RuleSet) -> Rules:
    """The rules of a checkpoint, with those set apart that look for nothing special (`Rule.looks_for`)."""
    members = {role: _unconditional(of_role) for role, of_role in every.member.items()}
    return Rules(every, RuleSet(_unconditional(every.case), _unconditional(every.procedure), members))


def _unconditional(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple([rule for rule in rules if not rule.looks_for])


_STAFF = ("operator.staff",)
_GRANTS = ("operator.staff", "resolved.entries", "standings", "level", "whole.first_day", "whole.last_day", "whole.department")
_TECHNOLOGY = ("resolved.watch", "whole.diagnoses", "whole.urgency", "technologies", "whole.first_day")

PROCEDURE_RULES = (
    Rule(("prohibited_technology",), technology.prohibited_technology, _TECHNOLOGY, looks_for="technology"),
    Rule(("technology_stopped",), technology.technology_stopped, (*_TECHNOLOGY, "resolved.pool"), looks_for="technology"),
    Rule(("restricted_not_assessed",), technology.restricted_not_assessed, _TECHNOLOGY, looks_for="technology"),
    Rule(("restricted_filing_due",), technology.restricted_filing_due, _TECHNOLOGY, looks_for="technology"),
    Rule(("special_approval_missing",), technology.special_approval_missing, (*_TECHNOLOGY, "whole.evidence"), looks_for="technology"),
    Rule(("staff_unknown",), people.operator_unknown, ("procedure.operator",), about_operator=True, looks_for="doubt"),
    Rule(("license_invalid",), people.operator_license, (*_STAFF, "whole.last_day"), about_operator=True, looks_for="doubt"),
    Rule(("staff_suspended",), people.operator_suspended, _STAFF, about_operator=True, looks_for="doubt"),
    Rule(("trainee_operator",), people.trainee_operator, _STAFF, about_operator=True, looks_for="doubt"),
    Rule(("requalification_due",), people.operator_requalification, _STAFF, about_operator=True, looks_for="doubt"),
    Rule(("code_unknown",), catalog.code_unknown, ("code",), looks_for="lack"),
    Rule(
        ("department_not_listed",),
        catalog.department_not_listed,
        ("code", "whole.department", "resolved.pool"),
        looks_for="lack",
    ),
    Rule(("diagnosis_missing",), technology.diagnosis_missing, _TECHNOLOGY, looks_for="technology"),
    Rule(("entry_ambiguous",), catalog.entry_ambiguous, _GRANTS, about_operator=True, looks_for="lack"),
    Rule(
        (
            "grant_missing",
            "grant_not_itemized",
            "grant_level_exceeded",
            "grant_department_mismatch",
            "grant_not_yet_valid",
            "grant_expired",
            "grant_evaluation_overdue",
            "grant_suspended",
            "grant_revoked",
        ),
        grants.operator_grant,
        _GRANTS,
        about_operator=True,
        looks_for="lack",
    ),
    Rule(
        ("restricted_training_missing",),
        technology.restricted_training_missing,
        (*_TECHNOLOGY, *_STAFF),
        about_operator=True,
        looks_for="technology",
    ),
    Rule(
        ("qualification_unmet",),
        technology.qualification_unmet,
        (*_TECHNOLOGY, *_STAFF, "level"),
        about_operator=True,
        looks_for="technology",
    ),
    Rule(
        ("new_project_team_only",),
        technology.new_project_team_only,
        (*_TECHNOLOGY, "procedure.operator"),
        about_operator=True,
        looks_for="technology",
    ),
    Rule(("mdt_missing",), evidence.mdt_missing, ("level", "whole.evidence")),
    Rule(("major_approval_missing",), evidence.major_procedure_unapproved, (*_TECHNOLOGY, "whole.evidence"), looks_for="technology"),
    Rule(("order_right_missing",), grants.order_right, ("whole.order.requester", "whole.hospital.policy.order_right")),
)

_KNOWN_MEMBER = (
    Rule(("staff_unknown",), people.member_unknown, ("member.staff",), looks_for="doubt"),
    Rule(("license_invalid",), people.member_license, ("person.staff", "member.role", "whole.last_day"), looks_for="doubt"),
    Rule(("staff_suspended",), people.member_suspended, ("person.staff",), looks_for="doubt"),
)
_REASSESSED = Rule(("requalification_due",), people.member_requalification, ("person.staff",), looks_for="doubt")
_ASSISTING = _KNOWN_MEMBER
_ANESTHESIOLOGIST = (
    *_KNOWN_MEMBER,
    _REASSESSED,
    Rule(("anesthesia_grade_exceeded",), theatre.anesthesia_grade, ("whole.asa", "whole.department", "person.grants")),
)
_PERFUSIONIST = (
    *_KNOWN_MEMBER,
    _REASSESSED,
    Rule(("perfusion_grade_exceeded",), theatre.perfusion_grade, ("whole.grade", "whole.department", "person.grants")),
)
MEMBER_RULES: Mapping[TeamRole, tuple[Rule, ...]] = {
    TeamRole.FIRST_ASSISTANT: _ASSISTING,
    TeamRole.SECOND_ASSISTANT: _ASSISTING,
    TeamRole.ASSISTANT: _ASSISTING,
    TeamRole.SUPERVISOR: _ASSISTING,
    TeamRole.ANESTHESIA_ASSISTANT: _ASSISTING,
    TeamRole.ANESTHESIOLOGIST: _ANESTHESIOLOGIST,
    TeamRole.PERFUSIONIST: _PERFUSIONIST,
    TeamRole.SCRUB_NURSE: (),
    TeamRole.CIRCULATING_NURSE: (),
}

_REQUESTER = Rule(("staff_unknown",), people.requester_unknown, ("order.requester",))
_EVIDENCE = (
    Rule(("major_approval_missing",), evidence.major_patient_unapproved, ("order.patient.flags", "evidence"), looks_for="patient"),
    Rule(
        ("unplanned_reoperation_unreported",),
        evidence.unplanned_reoperation_unreported,
        ("order.patient.flags", "evidence"),
        looks_for="patient",
    ),
)
_THEATRE = (
    Rule(("anesthesia_unverified",), theatre.anesthesia_unverified, ("team_roles", "asa")),
    Rule(("perfusion_unverified",), theatre.perfusion_unverified, ("team_roles", "grade", "flags")),
)
_UPSTREAM = Rule(("upstream_missing", "upstream_denied"), case.upstream, ("history", "urgency"))
_CHANGED = Rule(("plan_changed",), case.plan_changed, ("history",))

CASE_RULES: Mapping[Checkpoint, tuple[Rule, ...]] = {
    Checkpoint.ORDER: (_REQUESTER, *_EVIDENCE),
    Checkpoint.NOTICE: (_REQUESTER, *_EVIDENCE, _UPSTREAM, _CHANGED),
    Checkpoint.ANESTHESIA: (_REQUESTER, *_EVIDENCE, *_THEATRE, _UPSTREAM, _CHANGED),
    Checkpoint.INTRAOP: (_REQUESTER, *_EVIDENCE, _UPSTREAM, _CHANGED),
}

RULES: Mapping[Checkpoint, Rules] = {
    checkpoint: rules_of(RuleSet(case_rules, PROCEDURE_RULES, MEMBER_RULES)) for checkpoint, case_rules in CASE_RULES.items()
}

_UNAVAILABLE = Rule(("matrix_unavailable",), case.matrix_unavailable)

WITHOUT_MATRIX: Mapping[Checkpoint, Rules] = {
    checkpoint: rules_of(
        RuleSet(
            (*case_rules, _UNAVAILABLE),
            (*(rule for rule in PROCEDURE_RULES if not rule.about_operator), _UNAVAILABLE),
            {role: (_UNAVAILABLE,) if rules else () for role, rules in MEMBER_RULES.items()},
        )
    )
    for checkpoint, case_rules in CASE_RULES.items()
}
"""The same where no grant matrix can be had: people can't be judged and say so, everything else is."""

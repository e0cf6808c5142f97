"""The judgement: findings with their dispositions, verdicts, who may do it instead, obligations, the emergency override."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from app.engine.calendar import add_working_days
from app.engine.codes import normalize_procedure, normalize_text
from app.engine.model import (
    NURSE_ROLES,
    RESTRICTED_KINDS,
    ByCheckpoint,
    CaseHistory,
    Checkpoint,
    Disposition,
    GrantState,
    Hospital,
    Order,
    PastDecision,
    Person,
    StaffStatus,
    TeamRole,
    Technology,
    TechnologyKind,
    Urgency,
    Verdict,
)
from app.engine.reasons import BY_CHECKPOINT, GRANT_FINDINGS, REASONS, default_disposition, refuse_disposition, stricter
from app.engine.reference.order import Case, Resolved, resolve
from app.engine.reference.people import GRADES, GRANTED, about_member, about_operator, asked_grade, graded, may_order, said_of, standing

MAX_OPERATORS = 10
MIN_REASON_CHARS = 5
MIN_DIFFERENT_CHARS = 4
FILING_WORKING_DAYS = 15
DENYING = (Disposition.OVERRIDABLE, Disposition.FINAL)

ABOUT_THE_PERSON = {
    "staff_unknown",
    "license_invalid",
    "staff_suspended",
    "trainee_operator",
    "requalification_due",
    "entry_ambiguous",
    *GRANT_FINDINGS,
    "restricted_training_missing",
    "qualification_unmet",
    "new_project_team_only",
}

Found = tuple[str, Disposition]
"""A reason code and what it does."""


class OtherPatient(Exception):
    """The case belongs to another patient, and it is no emergency."""


@dataclass(frozen=True)
class JudgedProcedure:
    """`entries` are the indexes of the entries that remain, `standing` the operator's to each of them; `operators` staff numbers."""

    code: str
    level: int | None
    findings: list[Found]
    verdict: Verdict
    technologies: set[str]
    entries: list[int]
    standing: list[str]
    operators: list[str]


@dataclass(frozen=True)
class JudgedMember:
    staff: str
    role: TeamRole
    verdict: Verdict
    findings: list[Found]
    operators: list[str]


@dataclass(frozen=True)
class JudgedOverride:
    state: str | None
    late: bool
    missing: tuple[str, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    decision: Verdict
    overridable: bool
    level: int | None
    procedures: list[JudgedProcedure]
    team: list[JudgedMember]
    findings: list[Found]
    obligations: list[str]
    override: JudgedOverride | None


def judge(order: Order, hospital: Hospital, people: Mapping[str, Person] | None, history: CaseHistory | None, now: datetime) -> Judged:
    """Judge one order.

    Raises:
        OtherPatient: `history` is another patient's, outside an emergency.
        MalformedCode: a code of the order cannot be one.
    """
    case = Case(order, hospital, people, now)
    other_patient = history is not None and history.patient_id != order.patient.id
    if other_patient and order.urgency is not Urgency.EMERGENCY:
        raise OtherPatient(order.case_id)
    past = history.decisions if history is not None and not other_patient else ()

    procedures = resolve(case)
    by_procedure = [sorted(set(_procedure_findings(case, procedure))) for procedure in procedures]
    by_member = [sorted(set(_member_findings(case, member.staff, member.role))) for member in order.team]
    of_case = sorted(set(_case_findings(case, procedures, past)))

    every = [*of_case, *(one for found in [*by_procedure, *by_member] for one in found)]
    final = any(disposition is Disposition.FINAL for _, disposition in every)
    denied = any(disposition in DENYING for _, disposition in every)
    missing = _missing(case)
    lifted = denied and not final and order.emergency is not None and not missing
    decision = Verdict.OVERRIDE if lifted else Verdict.DENY if denied else Verdict.ALLOW

    def verdict(found: list[Found]) -> Verdict:
        if any(disposition in DENYING for _, disposition in found):
            return Verdict.OVERRIDE if lifted else Verdict.DENY
        return Verdict.ALLOW

    return Judged(
        decision=decision,
        overridable=decision is Verdict.DENY and not final,
        level=max((procedure.level for procedure in procedures if procedure.level is not None), default=None),
        procedures=[
            JudgedProcedure(
                code=procedure.code,
                level=procedure.level,
                findings=found,
                verdict=verdict(found),
                technologies={technology.id for technology in procedure.certain},
                entries=sorted(procedure.remaining),
                standing=[_standing(case, procedure, index) for index in sorted(procedure.remaining)],
                operators=_operators(case, procedure, found, of_case) if verdict(found) is not Verdict.ALLOW else [],
            )
            for procedure, found in zip(procedures, by_procedure, strict=True)
        ],
        team=[
            JudgedMember(
                staff=member.staff,
                role=member.role,
                verdict=verdict(found),
                findings=found,
                operators=_stand_ins(case, member.staff, member.role) if verdict(found) is not Verdict.ALLOW else [],
            )
            for member, found in zip(order.team, by_member, strict=True)
        ],
        findings=of_case,
        obligations=sorted(set(_obligations(case, every, decision, missing))),
        override=_override(case, procedures, decision, every, missing, past, other_patient),
    )


# ------------------------------------------------------------------------------------------------ dispositions


def _disposition(case: Case, reason_code: str, default: Disposition | None = None, urgency: Urgency | None = None) -> Disposition:
    """What a finding does by the hospital's policy, never below the reason's floor (reading 25)."""
    checkpoint, urgency = case.order.checkpoint, urgency or case.order.urgency
    ruled = case.hospital.policy.dispositions.get(reason_code)
    if isinstance(ruled, ByCheckpoint):
        table = {
            Checkpoint.ORDER: ruled.order,
            Checkpoint.NOTICE: ruled.notice,
            Checkpoint.ANESTHESIA: ruled.anesthesia,
            Checkpoint.INTRAOP: ruled.intraop,
        }
        ruled = ruled.emergency if urgency is Urgency.EMERGENCY else table[checkpoint]
    if ruled is None:
        return default or default_disposition(REASONS[reason_code], checkpoint, urgency)
    return ruled if refuse_disposition(reason_code, ruled) is None else REASONS[reason_code].floor


# ------------------------------------------------------------------------------------------------ findings


def _procedure_findings(case: Case, procedure: Resolved) -> Iterator[Found]:
    for reason_code in _of_procedure(case, procedure):
        yield reason_code, _disposition(case, reason_code)
    for technology in procedure.certain:
        due = _filing_overdue(case, technology)
        if due is not None:
            default = Disposition.OVERRIDABLE if due else Disposition.OBLIGATION
            yield "restricted_filing_due", _disposition(case, "restricted_filing_due", default)
    for technology in procedure.uncertain:
        disposition = _disposition(case, "diagnosis_missing")
        if technology.kind is TechnologyKind.PROHIBITED:
            disposition = stricter(disposition, Disposition.FINAL)
        yield "diagnosis_missing", disposition


def _of_procedure(case: Case, procedure: Resolved) -> Iterator[str]:
    if procedure.not_found is not None:
        yield procedure.not_found
    if any("stopped" in entry.flags for entry in procedure.pool):
        yield "technology_stopped"
    for technology in procedure.certain:
        yield from _of_technology(case, technology)
    if procedure.level == 4 and _blank(case.evidence.mdt):
        yield "mdt_missing"
    if any("major" in entry.flags for entry in procedure.pool) and _blank(case.evidence.major_approval):
        yield "major_approval_missing"
    if case.people is None:
        yield "matrix_unavailable"
        return
    yield from about_operator(case, procedure, case.people.get(procedure.operator), _loosened(case, procedure))
    if case.hospital.policy.order_right and not may_order(case, procedure, case.people.get(case.order.requester or "")):
        yield "order_right_missing"


def _loosened(case: Case, procedure: Resolved) -> bool:
    """The hospital's policy lets the lack of an entry pass (reading 22)."""
    return procedure.not_found is not None and _disposition(case, procedure.not_found) not in DENYING


def _of_technology(case: Case, technology: Technology) -> Iterator[str]:
    if technology.kind is TechnologyKind.PROHIBITED:
        yield "prohibited_technology"
    if technology.stopped:
        yield "technology_stopped"
    if technology.kind in RESTRICTED_KINDS and (technology.assessed_on is None or technology.assessed_on > case.day):
        yield "restricted_not_assessed"
    if technology.kind is TechnologyKind.SPECIAL_LAW and _blank(case.evidence.special_approval):
        yield "special_approval_missing"
    if technology.kind in (TechnologyKind.MAJOR, TechnologyKind.NEW_PROJECT) and _blank(case.evidence.major_approval):
        yield "major_approval_missing"


def _filing_overdue(case: Case, technology: Technology) -> bool | None:
    """Whether the filing of a restricted technology is later than allowed; None: nothing is to be filed (reading 15)."""
    if technology.kind not in RESTRICTED_KINDS or technology.assessed_on is None or technology.assessed_on > case.day:
        return None
    if technology.filed_on is not None and technology.filed_on <= case.day:
        return None
    first = technology.first_case_on
    first = first if first is not None and first <= case.day else case.day
    return case.day > add_working_days(first, FILING_WORKING_DAYS, case.hospital.office_hours)


def _member_findings(case: Case, staff: str, role: TeamRole) -> Iterator[Found]:
    if role in NURSE_ROLES:
        return
    if case.people is None:
        yield "matrix_unavailable", _disposition(case, "matrix_unavailable")
        return
    for reason_code in about_member(case, role, case.people.get(staff)):
        yield reason_code, _disposition(case, reason_code)


def _case_findings(case: Case, procedures: list[Resolved], past: tuple[PastDecision, ...]) -> Iterator[Found]:
    for reason_code in _of_case(case, procedures, past):
        yield reason_code, _disposition(case, reason_code)


def _of_case(case: Case, procedures: list[Resolved], past: tuple[PastDecision, ...]) -> Iterator[str]:
    order, flags = case.order, set(case.order.patient.flags)
    if case.people is None:
        yield "matrix_unavailable"
    elif order.requester is not None and order.requester not in case.people:
        yield "staff_unknown"
    if flags & case.hospital.policy.major_flags and _blank(case.evidence.major_approval):
        yield "major_approval_missing"
    if "unplanned_reoperation" in flags and _blank(case.evidence.unplanned_reoperation):
        yield "unplanned_reoperation_unreported"
    if order.checkpoint is Checkpoint.ANESTHESIA:
        roles = {member.role for member in order.team}
        if TeamRole.ANESTHESIOLOGIST not in roles or asked_grade(case, TeamRole.ANESTHESIOLOGIST) is None:
            yield "anesthesia_unverified"
        has_grade, has_perfusionist = asked_grade(case, TeamRole.PERFUSIONIST) is not None, TeamRole.PERFUSIONIST in roles
        bypass = any("bypass" in entry.flags for procedure in procedures for entry in procedure.pool)
        if has_grade != has_perfusionist or (bypass and not has_grade):
            yield "perfusion_unverified"
    yield from _upstream(order, past)
    if _plan_changed(order, procedures, past):
        yield "plan_changed"


def _before(order: Order, past: tuple[PastDecision, ...]) -> list[PastDecision]:
    """The decisions of the checkpoint before this one; of an `intraop` change the anesthesia record's, or else the notice's."""
    previous = {
        Checkpoint.ORDER: [],
        Checkpoint.NOTICE: [Checkpoint.ORDER],
        Checkpoint.ANESTHESIA: [Checkpoint.NOTICE],
        Checkpoint.INTRAOP: [Checkpoint.ANESTHESIA, Checkpoint.NOTICE],
    }
    for checkpoint in previous[order.checkpoint]:
        decisions = [one for one in past if one.checkpoint is checkpoint]
        if decisions:
            return decisions
    return []


def _upstream(order: Order, past: tuple[PastDecision, ...]) -> Iterator[str]:
    before = _before(order, past)
    if before and before[-1].decision is Verdict.DENY:
        yield "upstream_denied"
    if not before and order.checkpoint is not Checkpoint.ORDER and order.urgency is not Urgency.EMERGENCY:
        yield "upstream_missing"


def _plan_changed(order: Order, procedures: list[Resolved], past: tuple[PastDecision, ...]) -> bool:
    before = past if order.checkpoint is Checkpoint.INTRAOP else _before(order, past)
    allowed = [one for one in before if one.decision is not Verdict.DENY]
    if not allowed:
        return False
    planned = {(normalize_procedure(one.code), one.operator) for one in allowed[-1].procedures}
    return planned != {(one.code, one.operator) for one in procedures}


def _blank(evidence: str | None) -> bool:
    return evidence is None or not normalize_text(evidence)


# ------------------------------------------------------------------------------------------------ who else may


def _standing(case: Case, procedure: Resolved, index: int) -> str:
    person = case.people.get(procedure.operator) if case.people is not None else None
    return standing(case, procedure, person, index) if person is not None else "unknown"


def _operators(case: Case, procedure: Resolved, found: list[Found], of_case: list[Found]) -> list[str]:
    """People whom no rule about the person bars (reading 30; a hospital may have loosened one to an obligation)."""
    barred = any(disposition is Disposition.FINAL and code not in ABOUT_THE_PERSON for code, disposition in found)
    barred |= any(disposition is Disposition.FINAL for _, disposition in of_case)
    if case.people is None or barred or not procedure.remaining:
        return []
    return _listed(
        [
            person
            for number, person in case.people.items()
            if number != procedure.operator and not _barred(case, about_operator(case, procedure, person, loosened=False))
        ],
        case.order.department,
        case,
    )


def _stand_ins(case: Case, staff: str, role: TeamRole) -> list[str]:
    """Other anesthesiologists or perfusionists who may take this member's place."""
    if case.people is None or role not in GRADES:
        return []
    asked = asked_grade(case, role) or 0
    named = case.people.get(staff)
    return _listed(
        [
            person
            for number, person in case.people.items()
            if number != staff
            and any(grant.state is GrantState.ACTIVE for grant in graded(person, role, asked))
            and not _barred(case, about_member(case, role, person))
        ],
        named.staff.department if named else None,
        case,
    )


def _barred(case: Case, reason_codes: Iterator[str]) -> bool:
    return any(_disposition(case, reason_code) in DENYING for reason_code in reason_codes)


def _listed(people: list[Person], own: str | None, case: Case) -> list[str]:
    """In an emergency whoever is on duty first; own department first, then the others by name; in a department by staff number; so many as fit."""

    def place(person: Person) -> tuple[bool, bool, str, str]:
        called_first = case.order.urgency is Urgency.EMERGENCY and on_duty(person, case.now)
        return not called_first, person.staff.department != own, person.staff.department, person.staff.staff

    ordered = sorted((person for person in people if person.staff.status is StaffStatus.ACTIVE), key=place)
    return [person.staff.staff for person in ordered][:MAX_OPERATORS]


def on_duty(person: Person, now: datetime) -> bool:
    """Whether any turn of the roster has begun and is not over."""
    return any(not (now < turn.starts or now >= turn.ends) for turn in person.duty)


# ------------------------------------------------------------------------------------------------ obligations and the override


def _obligations(case: Case, every: list[Found], decision: Verdict, missing: tuple[str, ...]) -> Iterator[str]:
    for reason_code, disposition in every:
        if disposition is Disposition.OBLIGATION:
            yield reason_code
        relaxed = case.order.urgency is Urgency.EMERGENCY and reason_code in BY_CHECKPOINT and disposition not in DENYING
        declared = case.order.emergency is not None and not missing
        if relaxed and not declared and _disposition(case, reason_code, urgency=Urgency.URGENT) in DENYING:
            yield "emergency_to_confirm"  # reading 27
    if decision is Verdict.OVERRIDE:
        yield from ("report_medical_affairs", "reach_senior", "hand_over")


def _missing(case: Case) -> tuple[str, ...]:
    """What keeps the emergency declaration from being valid."""
    declared = case.order.emergency
    if declared is None:
        return ()
    by = normalize_text(declared.declared_by or "")
    declarer = case.people.get(by) if case.people is not None else None
    order = case.order
    on_case = by in {*(p.operator for p in order.procedures), *(m.staff for m in order.team), order.requester}
    on_staff = declarer is not None and declarer.staff.status is not StaffStatus.LEFT
    holds = {
        "urgency": case.order.urgency is Urgency.EMERGENCY,
        "lifesaving": declared.lifesaving is True,
        "no_privileged_operator": declared.no_privileged_operator is True,
        "reason_code": declared.reason_code in case.hospital.policy.emergency_reasons,
        "reason": len(normalize_text(declared.reason or "")) >= MIN_REASON_CHARS,
        "declared_by": on_case and (case.people is None or on_staff),
    }
    return tuple(name for name, held in holds.items() if not held)


def _privilege_findings(case: Case, procedure: Resolved) -> set[str]:
    """All that is wrong with the operator's grants for the entries that are not granted, not only what is nearest to a privilege."""
    person = case.people.get(procedure.operator) if case.people is not None else None
    if person is None:
        return set()
    indexes = procedure.remaining or (procedure.family if _loosened(case, procedure) else [])
    barred = [index for index in indexes if standing(case, procedure, person, index) != GRANTED]
    return set().union(*(said_of(case, procedure, person, index) for index in barred))


def _override(
    case: Case,
    procedures: list[Resolved],
    decision: Verdict,
    every: list[Found],
    missing: tuple[str, ...],
    past: tuple[PastDecision, ...],
    other_patient: bool,
) -> JudgedOverride | None:
    declared = case.order.emergency
    if declared is None or decision is Verdict.ALLOW:
        return None
    planned = case.order.planned_start
    late = planned is not None and (case.now > planned or (declared.declared_at is not None and declared.declared_at > planned))
    if decision is not Verdict.OVERRIDE:
        return JudgedOverride(None, late, missing, ())
    privileges = {code for procedure in procedures for code in _privilege_findings(case, procedure)}
    flags = {
        "revoked_privilege": "grant_revoked" in privileges,
        "suspended_privilege": bool({"grant_suspended", "staff_suspended"} & {*privileges, *(code for code, _ in every)}),
        "late": late,
        "canned_reason": len({c for c in declared.reason or "" if c.isalnum()}) < MIN_DIFFERENT_CHARS,
        "denied_before": any(one.decision is Verdict.DENY for one in past),
        "other_patient": other_patient,
    }
    return JudgedOverride(
        "reported" if (declared.reported_to or "").strip() and declared.reported_at else "pending_report",
        late,
        missing,
        tuple(flag for flag, raised in flags.items() if raised),
    )

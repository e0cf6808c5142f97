"""The decision: one plain function over immutable values, no I/O and no clock.

A case is allowed only if every procedure, every checked member of the team and the case itself are. The plain form of the same rules is
`engine.reference`; random differential tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from app.engine.checkpoints import RULES, WITHOUT_MATRIX, Rule, Rules, RuleSet
from app.engine.context import MemberContext, OrderContext, ProcedureContext, order_context
from app.engine.hospital import CompiledHospital
from app.engine.judge import DENYING, NO_FINDINGS, Observer, run, verdict_of
from app.engine.matrix import Matrix
from app.engine.model import (
    ASSISTANT_ROLES,
    Candidate,
    CaseHistory,
    Decision,
    Disposition,
    Finding,
    Message,
    Obligation,
    Order,
    OverrideResult,
    ProcedureResult,
    TeamResult,
    Urgency,
    Verdict,
)
from app.engine.obligations import obligations_of
from app.engine.operators import colleagues_for_member, colleagues_for_procedure
from app.engine.override import incomplete_result, missing_of, missing_text, override_obligations, override_result
from app.engine.reasons import PRECEDENCE
from app.engine.resolve import procedure_contexts
from app.engine.rules.found import Found

_ALLOW = Verdict.ALLOW
_ALLOWED = Message(zh="核查通过。", en="Allowed.")


class OtherPatient(Exception):
    """The case id belongs to another patient: one case is one operation on one patient. Refused, except in an emergency."""


Watcher = Callable[[str, Rule, Any, tuple[Found, ...]], None]
"""Told of every rule looked at: the subject's place in the order, the rule, its context, what it found. For `explain`."""


def decide(
    order: Order,
    hospital: CompiledHospital,
    matrix: Matrix | None,
    history: CaseHistory | None,
    now: datetime,
    watcher: Watcher | None = None,
) -> Decision:
    """Judge one checkpoint of a case.

    `matrix` None: no grant matrix fresh enough can be had. `history` None: the case's first decision. `now`: the instant, with offset.

    Raises:
        MalformedCode: a procedure or diagnosis code that cannot be one (the codec refuses it earlier, naming the field).
        OtherPatient: the case belongs to another patient and this is no emergency.
    """
    whole = order_context(order, hospital, matrix, history, now)
    if whole.other_patient and order.urgency is not Urgency.EMERGENCY:
        raise OtherPatient(order.case_id)
    rules = (RULES if matrix is not None else WITHOUT_MATRIX)[order.checkpoint]
    procedures = procedure_contexts(whole)
    judged = _judged(rules, whole, procedures) if watcher is None else _watched(rules.every, whole, procedures, watcher)
    of_case, of_procedures, of_members, findings = judged

    outcome = _outcome(whole, findings) if findings else _NOTHING_FOUND
    lifted = outcome.lifted
    # Positional, in the order of the fields: keywords cost half a microsecond each for the two largest values.
    return Decision(
        None,  # decision_id
        order.request_id,
        order.case_id,
        order.checkpoint,
        outcome.verdict,
        _highest_level(procedures),
        outcome.overridable,
        False,  # replayed
        outcome.message,
        tuple([_procedure_result(p, found, of_case, lifted) for p, found in of_procedures]),
        tuple(
            [
                _team_result(m, found, lifted) if found else TeamResult(m.member.staff, m.member.role, _ALLOW, (), ())
                for m, found in of_members
            ]
        ),
        of_case,
        outcome.obligations,
        outcome.override,
        matrix.state if matrix is not None else None,
        whole.now,
        ("other_patient",) if whole.other_patient else (),
    )


Findings: TypeAlias = tuple[Finding, ...]
_Judged: TypeAlias = tuple[Findings, list[tuple[ProcedureContext, Findings]], list[tuple[MemberContext, Findings]], list[Finding]]
"""What was found of the case, of each procedure and of each member of the team; and everything together."""


def _judged(rules: Rules, whole: OrderContext, procedures: Sequence[ProcedureContext]) -> _Judged:
    """By the rules that can find something."""
    every, plain = rules.every, rules.plain
    of_case = run(every.case if whole.order.patient.flags else plain.case, whole, whole)
    findings = [*of_case]
    of_procedures = []
    for procedure in procedures:
        found = run(plain.procedure if _is_plain(procedure) else every.procedure, procedure, whole)
        findings += found
        of_procedures.append((procedure, found))
    of_members = []
    for member in _members(whole):
        of_role = (plain if _is_clear(member) else every).member[member.member.role]
        found = run(of_role, member, whole) if of_role else NO_FINDINGS
        findings += found
        of_members.append((member, found))
    return of_case, of_procedures, of_members, findings


def _watched(rules: RuleSet, whole: OrderContext, procedures: Sequence[ProcedureContext], watcher: Watcher) -> _Judged:
    """By every rule, with somebody looking on."""
    of_case = run(rules.case, whole, whole, _observer(watcher, "case"))
    of_procedures = [(p, run(rules.procedure, p, whole, _observer(watcher, f"procedures[{i}]"))) for i, p in enumerate(procedures)]
    of_members = [(m, run(rules.member[m.member.role], m, whole, _observer(watcher, f"team[{i}]"))) for i, m in enumerate(_members(whole))]
    findings = [*of_case, *(f for _, found in (*of_procedures, *of_members) for f in found)]
    return of_case, of_procedures, of_members, findings


def _members(whole: OrderContext) -> Iterator[MemberContext]:
    rows = whole.matrix.rows if whole.matrix is not None else {}
    for member in whole.order.team:
        yield MemberContext(whole, member, rows.get(member.staff))


def _is_plain(ctx: ProcedureContext) -> bool:
    """Whether nothing is there that rules on a procedure look for (`Rule.looks_for`): no technology and no flag, an operator of a standing
    beyond doubt, who is granted every entry that remains."""
    operator, standings = ctx.operator, ctx.standings
    if operator is None or ctx.technologies or ctx.resolved.flags or not standings or any(standings):
        return False
    return operator.clear_until >= ctx.whole.last_day


def _is_clear(ctx: MemberContext) -> bool:
    """Whether the member's standing is beyond doubt, which is all that is asked of an assistant."""
    person = ctx.person
    if person is None:
        return False
    until = person.assists_until if ctx.member.role in ASSISTANT_ROLES else person.clear_until
    return until >= ctx.whole.last_day


def _highest_level(procedures: Sequence[ProcedureContext]) -> int | None:
    if len(procedures) == 1:
        return procedures[0].level
    return max((p.level for p in procedures if p.level is not None), default=None)


class _Outcome(NamedTuple):
    """What all findings together come to."""

    verdict: Verdict
    message: Message
    overridable: bool = False
    lifted: bool = False
    override: OverrideResult | None = None
    obligations: tuple[Obligation, ...] = ()


_NOTHING_FOUND = _Outcome(_ALLOW, _ALLOWED)


def _outcome(whole: OrderContext, findings: Sequence[Finding]) -> _Outcome:
    denying = [f for f in findings if f.disposition in DENYING]
    final = any(f.disposition is Disposition.FINAL for f in denying)
    missing = missing_of(whole) if denying else ()
    lifted = bool(denying) and not final and not missing
    verdict = Verdict.OVERRIDE if lifted else Verdict.DENY if denying else _ALLOW
    obligations = obligations_of(whole, findings) + (tuple(override_obligations(whole)) if lifted else ())
    message = _message(verdict, denying, obligations)
    override = None
    if denying and whole.order.emergency is not None:
        override = override_result(whole, missing, denying) if lifted else incomplete_result(whole, missing)
        message = _with_missing(message, override.missing)
    return _Outcome(verdict, message, verdict is Verdict.DENY and not final, lifted, override, obligations)


def _with_missing(message: Message, missing: tuple[str, ...]) -> Message:
    """The message with what an emergency declaration lacks."""
    if not missing:
        return message
    lacking = missing_text(missing)
    return Message(zh=message.zh + lacking.zh, en=f"{message.en} {lacking.en}")


def _message(verdict: Verdict, denying: Sequence[Finding], obligations: Sequence[Obligation]) -> Message:
    """What is shown to the doctor: the first finding that denies, by precedence, and how many more there are."""
    if verdict is Verdict.ALLOW:
        if not obligations:
            return _ALLOWED
        zh = f"核查通过，另有{len(obligations)}项须办理：{obligations[0].message.zh}"
        return Message(zh=zh, en=f"Allowed, with {len(obligations)} thing(s) to be done: {obligations[0].message.en}")
    first = min(denying, key=_rank).message
    more = len(denying) - 1
    zh = first.zh + (f"（另有{more}项问题）" if more else "")
    en = first.en + (f" ({more} more finding(s))" if more else "")
    if verdict is Verdict.DENY:
        return Message(zh=zh, en=en)
    zh = f"按紧急声明放行（越级急诊手术，已记录待审查），请立即报告。原因：{zh}"
    return Message(zh=zh, en=f"Let through on an emergency declaration, recorded for review: report it now. Reason: {en}")


def _rank(finding: Finding) -> int:
    return PRECEDENCE[finding.code]


def _procedure_result(ctx: ProcedureContext, findings: tuple[Finding, ...], of_case: tuple[Finding, ...], lifted: bool) -> ProcedureResult:
    verdict = verdict_of(findings, lifted) if findings else _ALLOW
    name, grade, item, entry = ctx.resolved.printed
    return ProcedureResult(
        ctx.code,
        ctx.procedure.code,  # as_sent
        name,
        ctx.level,
        grade,
        item,
        entry,
        ctx.procedure.operator,
        verdict,
        tuple([i.technology.id for i in ctx.technologies if i.certain]) if ctx.technologies else (),
        candidates_of(ctx) if len(ctx.resolved.entries) > 1 else (),
        findings,
        () if verdict is _ALLOW else colleagues_for_procedure(ctx, findings, of_case),
    )


def candidates_of(ctx: ProcedureContext) -> tuple[Candidate, ...]:
    """The entries that remain, each with how the operator stands to it."""
    standings = ctx.standings or (None,) * len(ctx.resolved.entries)
    judged = ctx.operator is not None
    return tuple(
        Candidate(
            code=e.code,
            name=e.entry.name,
            level=e.level,
            departments=e.entry.departments,
            hospital_grade=e.entry.hospital_grade,
            item=e.entry.item,
            service=e.entry.service,
            standing="unknown" if not judged else "granted" if standing is None else standing.code,
        )
        for e, standing in zip(ctx.resolved.entries, standings, strict=True)
    )


def _team_result(ctx: MemberContext, findings: tuple[Finding, ...], lifted: bool) -> TeamResult:
    verdict = verdict_of(findings, lifted)
    operators = () if verdict is _ALLOW else colleagues_for_member(ctx)
    return TeamResult(ctx.member.staff, ctx.member.role, verdict, findings, operators)


def _observer(watcher: Watcher, place: str) -> Observer:
    return lambda rule, ctx, found: watcher(place, rule, ctx, found)


__all__ = ["OtherPatient", "Watcher", "candidates_of", "decide"]

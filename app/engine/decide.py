"""The decision: one plain function over immutable values, no I/O and no clock.

A case is allowed only if every procedure, every checked member of the team and the case itself are. The plain form of the same rules is
`engine.reference`; random differential tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from app.engine.checkpoints import RULES, WITHOUT_MATRIX, Rule
from app.engine.context import MemberContext, OrderContext, ProcedureContext
from app.engine.hospital import CompiledHospital
from app.engine.judge import DENYING, Observer, run, verdict_of
from app.engine.matrix import Matrix
from app.engine.model import (
    Candidate,
    CaseHistory,
    Decision,
    Disposition,
    Entry,
    Finding,
    Message,
    Obligation,
    Order,
    OverrideResult,
    ProcedureResult,
    TeamResult,
    TeamRole,
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
_GRADED = frozenset({TeamRole.ANESTHESIOLOGIST, TeamRole.PERFUSIONIST})
_NO_ENTRY = Entry(code="", name="", level=0)
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
    whole = OrderContext(order, hospital, matrix, history, now)
    if whole.other_patient and order.urgency is not Urgency.EMERGENCY:
        raise OtherPatient(order.case_id)
    rules = (RULES if matrix is not None else WITHOUT_MATRIX)[order.checkpoint]
    procedures = procedure_contexts(whole)
    members = [MemberContext(whole, m, matrix.person(m.staff) if matrix is not None else None) for m in order.team]

    if watcher is None:
        of_case = run(rules.case, whole, whole)
        of_procedures = [run(rules.plain if _is_plain(p) else rules.procedure, p, whole) for p in procedures]
        of_members = [() if _is_clear(m) else run(rules.member[m.member.role], m, whole) for m in members]
    else:
        of_case = run(rules.case, whole, whole, _observer(watcher, "case"))
        of_procedures = [run(rules.procedure, p, whole, _observer(watcher, f"procedures[{i}]")) for i, p in enumerate(procedures)]
        of_members = [run(rules.member[m.member.role], m, whole, _observer(watcher, f"team[{i}]")) for i, m in enumerate(members)]

    outcome = _Outcome(whole, [*of_case, *chain.from_iterable(of_procedures), *chain.from_iterable(of_members)])
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
        tuple([_procedure_result(p, f, of_case, lifted) for p, f in zip(procedures, of_procedures, strict=True)]),
        tuple([_team_result(m, f, lifted) for m, f in zip(members, of_members, strict=True)]),
        of_case,
        outcome.obligations,
        outcome.override,
        matrix.state if matrix is not None else None,
        whole.now,
        ("other_patient",) if whole.other_patient else (),
    )


def _is_plain(ctx: ProcedureContext) -> bool:
    """Whether nothing is there that the rules on technologies or on the operator's standing look for (`Rule.looks_for`)."""
    operator = ctx.operator
    if operator is None or ctx.technologies or ctx.resolved.flags:
        return False
    until = operator.clear_until
    return until is not None and until >= ctx.whole.last_day


def _is_clear(ctx: MemberContext) -> bool:
    """Whether no rule about this member can find anything: of an assistant nothing is asked but a standing beyond doubt."""
    person = ctx.person
    if person is None or ctx.member.role in _GRADED:
        return False
    until = person.clear_until
    return until is not None and until >= ctx.whole.last_day


def _highest_level(procedures: Sequence[ProcedureContext]) -> int | None:
    if len(procedures) == 1:
        return procedures[0].level
    return max((p.level for p in procedures if p.level is not None), default=None)


class _Outcome:
    """What all findings together come to."""

    __slots__ = ("lifted", "message", "obligations", "overridable", "override", "verdict")

    def __init__(self, whole: OrderContext, findings: Sequence[Finding]) -> None:
        self.verdict = _ALLOW
        self.overridable = self.lifted = False
        self.override: OverrideResult | None = None
        self.obligations: tuple[Obligation, ...] = ()
        self.message = _ALLOWED
        if not findings:
            return
        denying = [f for f in findings if f.disposition in DENYING]
        final = any(f.disposition is Disposition.FINAL for f in denying)
        if denying:
            missing = missing_of(whole)
            self.lifted = not final and not missing
            self.verdict = Verdict.OVERRIDE if self.lifted else Verdict.DENY
            self.overridable = not final and not self.lifted
            if whole.order.emergency is not None:
                self.override = override_result(whole, missing, denying) if self.lifted else incomplete_result(whole, missing)
        self.obligations = obligations_of(whole, findings) + (tuple(override_obligations(whole)) if self.lifted else ())
        self.message = _message(self.verdict, denying, self.obligations)
        if self.override is not None and self.override.missing:
            lacking = missing_text(self.override.missing)
            self.message = Message(zh=self.message.zh + lacking.zh, en=f"{self.message.en} {lacking.en}")


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
    entry = ctx.entry
    printed = entry.entry if entry is not None else _NO_ENTRY
    return ProcedureResult(
        ctx.code,
        ctx.procedure.code,  # as_sent
        printed.name or None,
        ctx.level,
        printed.hospital_grade or None,
        printed.item or None,
        printed.code or None,  # entry
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
    if not findings:
        return TeamResult(ctx.member.staff, ctx.member.role, _ALLOW, (), ())
    verdict = verdict_of(findings, lifted)
    operators = () if verdict is _ALLOW else colleagues_for_member(ctx)
    return TeamResult(ctx.member.staff, ctx.member.role, verdict, findings, operators)


def _observer(watcher: Watcher, place: str) -> Observer:
    return lambda rule, ctx, found: watcher(place, rule, ctx, found)


__all__ = ["OtherPatient", "Watcher", "candidates_of", "decide"]

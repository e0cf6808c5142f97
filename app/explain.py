"""The full trace of a judgement: every rule looked at, what it saw, how it ended; and its print for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import Any, Literal

import msgspec

from app.engine.catalog import CatalogEntry, scope_key
from app.engine.checkpoints import Rule
from app.engine.decide import decide
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import CaseHistory, Colleague, Decision, Evidence, Finding, Grant, Order, Staff, Value, Verdict
from app.engine.rules.found import Found
from app.engine.standing import Standing
from app.engine.technologies import Identified

PERSONS = ("operator.staff", "person.staff")
"""Where a rule looks at a person."""

_VERDICTS = {Verdict.ALLOW: "允许 allow", Verdict.DENY: "不允许 deny", Verdict.OVERRIDE: "越级放行 override"}
_MARKS = {"passed": "✓", "found": "✗", "not_judged": "–"}
_DISPOSITIONS = {"final": "不可放宽", "overridable": "急诊声明可放行", "obligation": "须办理", "info": "提示"}


class TraceStep(Value, frozen=True):
    """One rule looked at. `outcome`: `passed`, `found` (then `found` holds the reason codes), or `not_judged` where what it looks at is not
    there: a person who is not in the register."""

    subject: str
    rule: str
    codes: tuple[str, ...]
    saw: Mapping[str, Any]
    outcome: Literal["passed", "found", "not_judged"]
    found: tuple[str, ...]


class Explanation(Value, frozen=True):
    """A decision with its trace, and what was passed over in reading the order."""

    decision: Decision
    trace: tuple[TraceStep, ...]
    passed_over: Mapping[str, tuple[str, ...]]

    def answer(self) -> dict[str, Any]:
        """The explanation as it is answered: the decision's fields, `trace` and `passed_over` beside them."""
        return {**msgspec.to_builtins(self.decision), "trace": msgspec.to_builtins(self.trace), "passed_over": dict(self.passed_over)}


def explain(order: Order, hospital: CompiledHospital, matrix: Matrix | None, history: CaseHistory | None, now: datetime) -> Explanation:
    """Judge as `decide` does, and tell of every rule. Raises what `decide` raises."""
    steps: list[TraceStep] = []
    passed_over: dict[str, tuple[str, ...]] = {}

    def watch(subject: str, rule: Rule, ctx: Any, found: Sequence[Found]) -> None:
        saw = {path: _plain(_at(ctx, path)) for path in rule.sees}
        steps.append(TraceStep(subject, rule.name, rule.codes, saw, _outcome(saw, found), tuple(f.code for f in found)))
        if subject.startswith("procedures") and ctx.resolved.passed_over:
            passed_over[subject] = ctx.resolved.passed_over

    decision = decide(order, hospital, matrix, history, now, watch)
    return Explanation(decision, tuple(steps), passed_over)


def _outcome(saw: Mapping[str, Any], found: Sequence[Found]) -> Literal["passed", "found", "not_judged"]:
    if found:
        return "found"
    person = next((path for path in saw if path in PERSONS), None)
    return "not_judged" if person is not None and saw[person] is None else "passed"


def as_text(order: Order, explanation: Explanation) -> str:
    """The explanation for a person: the order, each procedure's entry, the rules, the answer, who may operate instead."""
    return "\n".join(_lines(order, explanation))


def decision_lines(order: Order, decision: Decision) -> list[str]:
    """The answer alone for a person."""
    lines = [f"{_VERDICTS[decision.decision]}：{decision.message.zh}", f"  {decision.message.en}"]
    for obligation in decision.obligations:
        due = f"（{obligation.due_at:%Y-%m-%d %H:%M}前）" if obligation.due_at is not None else ""
        lines.append(f"  须办理 to do: {obligation.code} {obligation.message.zh}{due}")
    if decision.override is not None and decision.override.missing:
        lines.append(f"  紧急声明缺少 the declaration lacks: {', '.join(decision.override.missing)}")
    for i, procedure in enumerate(decision.procedures):
        if procedure.operators:
            lines.append(f"  可由以下人员主刀 who may operate instead, procedures[{i}]: {_names(procedure.operators)}")
    for i, member in enumerate(decision.team):
        if member.operators:
            lines.append(f"  可接替 who may take over, team[{i}] {order.team[i].role.value}: {_names(member.operators)}")
    return lines


def _lines(order: Order, explanation: Explanation) -> Iterable[str]:
    decision = explanation.decision
    start = order.planned_start.isoformat() if order.planned_start is not None else "现在 now"
    yield f"{order.checkpoint.value} {order.case_id}  科室 {order.department}  {order.urgency.value}  {start}"
    for i, procedure in enumerate(decision.procedures):
        level = f"{procedure.level}级" if procedure.level is not None else "级别未知"
        what = (
            f"{procedure.name or '目录中无此编码 not in the catalog'}，{level}，{procedure.hospital_grade or '—'}，{procedure.item or '—'}"
        )
        yield f"procedures[{i}] {procedure.as_sent} → {procedure.entry or procedure.code}  {what}  术者 {procedure.operator}"
        if procedure.technologies:
            yield f"  技术 technologies: {', '.join(procedure.technologies)}"
        for name in explanation.passed_over.get(f"procedures[{i}]", ()):
            yield f"  {name} 与任何条目不符，未采用 matches no entry and was passed over"
        for candidate in procedure.candidates:
            yield f"  可能的条目 candidate: {candidate.name} {candidate.level}级 {candidate.item or '—'} {candidate.service or '—'}: {candidate.standing}"
    yield from _trace_lines(explanation.trace)
    yield from _finding_lines("case", decision.findings)
    for i, procedure in enumerate(decision.procedures):
        yield from _finding_lines(f"procedures[{i}]", procedure.findings)
    for i, member in enumerate(decision.team):
        yield from _finding_lines(f"team[{i}]", member.findings)
    yield from decision_lines(order, decision)


def _trace_lines(trace: Sequence[TraceStep]) -> Iterable[str]:
    """One line per rule; the rules on technologies are one line where none of their codes is looked for."""
    for _, steps in groupby(trace, key=lambda step: step.subject):
        looked_at = list(steps)
        untouched = [s for s in looked_at if s.outcome == "passed" and s.saw.get("technologies") == []]
        if untouched:
            name = f"{len(untouched)} rules on technologies"
            yield f"  ✓ {untouched[0].subject:<13} {name:<32} passed                   没有涉及的技术 no technology is touched by these codes"
        yield from (_step_line(step) for step in looked_at if step not in untouched)


def _step_line(step: TraceStep) -> str:
    saw = ", ".join(f"{path.rsplit('.', 1)[-1]}={_short(value)}" for path, value in step.saw.items() if value not in (None, [], {}))
    return f"  {_MARKS[step.outcome]} {step.subject:<13} {step.rule:<32} {' '.join(step.found) or step.outcome:<24} {saw}".rstrip()


def _finding_lines(subject: str, findings: Iterable[Finding]) -> Iterable[str]:
    for finding in findings:
        yield f"{subject}: {finding.code}（{_DISPOSITIONS[finding.disposition.value]}）{finding.message.zh} [{finding.basis}]"


def _names(colleagues: Iterable[Colleague]) -> str:
    return "、".join(f"{c.name}（{c.staff}，{c.department}{'，值班 on duty' if c.on_duty else ''}）" for c in colleagues)


def _short(value: object, longest: int = 100) -> str:
    text = _brief(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _brief(value: object) -> str:
    """What was seen in few words: of an object its values, of a list its items."""
    if isinstance(value, dict):
        return " ".join(_brief(v) for v in value.values() if v not in (None, "", [], {}))
    if isinstance(value, list):
        return "; ".join(_brief(v) for v in value)
    return str(value)


def _at(ctx: Any, path: str) -> Any:
    for name in path.split("."):
        if ctx is None:
            return None
        ctx = getattr(ctx, name)
    return ctx


def _plain(value: Any) -> Any:
    """A JSON value for what a rule saw; the engine's own objects by what tells them apart."""
    described = _DESCRIBED.get(type(value))
    if described is not None:
        return described(value)
    if isinstance(value, dict):
        return [_plain(v) for v in value.values()]
    if isinstance(value, frozenset):
        return sorted(_plain(v) for v in value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return msgspec.to_builtins(value)


_DESCRIBED: Mapping[type, Callable[[Any], Any]] = {
    CatalogEntry: lambda e: {"code": e.code, "level": e.level, "item": e.entry.item, "departments": list(e.entry.departments)},
    Identified: lambda i: {"id": i.technology.id, "certain": i.certain},
    Staff: lambda s: {"staff": s.staff, "kind": s.kind.value, "status": s.status.value, "license_valid_to": _plain(s.license_valid_to)},
    Standing: lambda s: {"standing": s.code},
    Grant: lambda g: {"id": g.id, "scope": scope_key(g.scope_type, g.scope), "state": g.state.value, "until": _plain(g.valid_to)},
    Evidence: lambda e: {name: held for name in e.__struct_fields__ if (held := getattr(e, name)) is not None},
    date: date.isoformat,
}

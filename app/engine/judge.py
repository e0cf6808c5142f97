"""Running rules on a subject: findings with their disposition and texts, in order of precedence.

A rule that raises counts as `rule_failed`, never as passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from app.engine.checkpoints import Rule
from app.engine.context import OrderContext
from app.engine.model import Disposition, Facts, Finding, Verdict
from app.engine.reasons import PRECEDENCE, REASONS, message_of, stricter
from app.engine.rules.found import Found

DENYING = frozenset({Disposition.FINAL, Disposition.OVERRIDABLE})

NO_FINDINGS: tuple[Finding, ...] = ()


class Subject(Protocol):
    """What rules run on: a procedure or a member of the team; the case as a whole is its own."""

    def about(self) -> Mapping[str, object]:
        """The facts of the subject that texts name."""
        ...


Observer = Callable[[Rule, Any, tuple[Found, ...]], None]
"""Told of every rule that was looked at, with its context and what it found."""


def run(rules: Iterable[Rule], ctx: Any, whole: OrderContext, observer: Observer | None = None) -> tuple[Finding, ...]:
    """All that the rules find, in order of precedence."""
    found: list[Found] = []
    for rule in rules:
        try:
            seen = rule.test(ctx)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in a rule, the order is not allowed by it
            seen = (Found("rule_failed", {"rule": rule.name, "error": type(error).__name__}),)
        if seen:
            found += seen
        if observer is not None:
            observer(rule, ctx, seen)
    return _findings(found, ctx, whole) if found else NO_FINDINGS


def _findings(found: Iterable[Found], ctx: Subject, whole: OrderContext) -> tuple[Finding, ...]:
    about = ctx.about()
    findings = [_finding(one, whole, about) for one in found]
    findings.sort(key=_precedence)
    return tuple(findings)


def verdict_of(findings: Iterable[Finding], lifted: bool) -> Verdict:
    """What findings of one subject come to; `lifted`: a valid declaration lifts what can be lifted."""
    verdict = Verdict.ALLOW
    for finding in findings:
        if finding.disposition is Disposition.FINAL:
            return Verdict.DENY
        if finding.disposition is Disposition.OVERRIDABLE:
            verdict = Verdict.OVERRIDE if lifted else Verdict.DENY
    return verdict


def _finding(found: Found, whole: OrderContext, about: Mapping[str, object]) -> Finding:
    reason = REASONS[found.code]
    disposition = whole.hospital.disposition(found.code, whole.checkpoint, whole.urgency, found.default)
    if found.at_least is not None:
        disposition = stricter(disposition, found.at_least)
    facts: Facts = {k: v for k, v in found.facts.items() if not k.endswith(("_zh", "_en"))}
    return Finding(found.code, disposition, message_of(reason, (about, found.facts)), reason.basis, facts)


def _precedence(finding: Finding) -> int:
    return PRECEDENCE[finding.code]

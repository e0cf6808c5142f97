"""The emergency override as a pure decision: what a declaration must hold, what it lifts, what it brings with it.

SGM-2022 art. 21 lets a surgeon without the privilege operate to save a life and leaves the regime to the hospital. A declaration lifts
overridable findings only; a final one stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from app.engine.calendar import add_working_days, closing_time, in_office_hours
from app.engine.codes import normalize_text
from app.engine.context import OrderContext
from app.engine.matrix import Matrix
from app.engine.model import Declaration, Finding, Message, Obligation, Order, OverrideResult, StaffStatus, Urgency, Verdict

MIN_REASON_CHARS = 5
"""A shorter text says nothing that a reviewer could judge."""

MIN_DIFFERENT_CHARS = 4
"""A reason with fewer different letters or characters, such as 急诊急诊, says nothing that a reviewer could judge either."""

BASIS = "SGM-2022 art. 21; H-WAHH ch. 7 §1(4)(2)"

_OFFICE = ("医务办", "the medical affairs office")
_DUTY = ("总值班", "the duty office")


def missing_of(ctx: OrderContext) -> tuple[str, ...]:
    """The fields that keep the order's declaration from being valid, by name; empty for a valid one. Without a declaration: all of them."""
    declaration = ctx.order.emergency or Declaration()
    reason = normalize_text(declaration.reason or "")
    declarer = normalize_text(declaration.declared_by or "")
    known = _on_case(ctx.order, declarer) and (ctx.matrix is None or _on_staff(ctx.matrix, declarer))
    holds = {
        "urgency": ctx.urgency is Urgency.EMERGENCY,
        "lifesaving": declaration.lifesaving is True,
        "no_privileged_operator": declaration.no_privileged_operator is True,
        "reason_code": declaration.reason_code in ctx.hospital.policy.emergency_reasons,
        "reason": len(reason) >= MIN_REASON_CHARS,
        "declared_by": known,
    }
    return tuple(field for field, held in holds.items() if not held)


def missing_text(missing: tuple[str, ...]) -> Message:
    """What is wrong with a declaration, for people. A declarer who was sent and is not accepted is told why."""
    zh, en = (
        f"紧急声明不完整，缺少或无效：{'、'.join(missing)}。",
        f"The emergency declaration lacks, or has no valid: {', '.join(missing)}.",
    )
    if "declared_by" in missing:
        zh += "申报人须为本单所列的在册人员。"
        en += " Who declares must be named in the order and be in the register."
    return Message(zh=zh, en=en)


def _on_case(order: Order, number: str) -> bool:
    """Whether the order names that person: nobody declares an emergency from outside."""
    return any(p.operator == number for p in order.procedures) or any(m.staff == number for m in order.team) or order.requester == number


def _on_staff(matrix: Matrix, number: str) -> bool:
    row = matrix.person(number)
    return row is not None and row.staff.status is not StaffStatus.LEFT


def is_late(ctx: OrderContext) -> bool:
    """Whether the override was declared, or received here, after the planned start: a paper record entered later."""
    start, declaration = ctx.order.planned_start, ctx.order.emergency
    if start is None or declaration is None:
        return False
    declared = declaration.declared_at
    return ctx.now > start or (declared is not None and declared > start)


def is_canned(reason: str) -> bool:
    """Whether a reason is empty of content: hardly any letter or character that differs from the others. Such texts made the logs of such
    overrides unauditable elsewhere."""
    return len({c for c in reason if c.isalnum()}) < MIN_DIFFERENT_CHARS


def override_result(ctx: OrderContext, missing: tuple[str, ...], lifted: Iterable[Finding]) -> OverrideResult:
    """What is opened with an override; its `id` is given where it is recorded."""
    declaration = ctx.order.emergency or Declaration()
    reported = bool(normalize_text(declaration.reported_to or "") and declaration.reported_at)
    hours = ctx.hospital.office_hours
    due = closing_time(add_working_days(ctx.today, ctx.hospital.policy.review_due_working_days, hours), hours, ctx.hospital.time_zone)
    return OverrideResult(
        id=None,
        state="reported" if reported else "pending_report",
        review_due_at=due,
        late=is_late(ctx),
        missing=missing,
        flags=_flags(ctx, {code for finding in lifted for code in (finding.code, *finding.facts.get("also", ()))}),
    )


def incomplete_result(ctx: OrderContext, missing: tuple[str, ...]) -> OverrideResult:
    """What a declaration comes to that lifts nothing: incomplete, or against a final finding."""
    return OverrideResult(id=None, state=None, review_due_at=None, late=is_late(ctx), missing=missing)


def override_obligations(ctx: OrderContext) -> list[Obligation]:
    """What an override obliges to: report now, try to reach a senior surgeon, hand over to a privileged one."""
    at_work = in_office_hours(ctx.now, ctx.hospital.office_hours, ctx.hospital.time_zone)
    zh, en = _OFFICE if at_work else _DUTY
    return [
        _obligation("report_medical_affairs", f"立即向{zh}报告本例越级急诊手术。", f"Report this override to {en} now.", ctx.now),
        _obligation("reach_senior", "设法联系上级医师尽快参加手术。", "Try to reach a senior surgeon to join.", ctx.now),
        _obligation("hand_over", "有权限的医师到场后交由其接续完成。", "Hand over when a privileged surgeon arrives.", None),
    ]


def _obligation(code: str, zh: str, en: str, due_at: datetime | None) -> Obligation:
    return Obligation(code, Message(zh=zh, en=en), due_at, BASIS)


def _flags(ctx: OrderContext, lifted: set[str]) -> tuple[str, ...]:
    raised = {
        "revoked_privilege": "grant_revoked" in lifted,
        "suspended_privilege": not lifted.isdisjoint(("grant_suspended", "staff_suspended")),
        "late": is_late(ctx),
        "canned_reason": is_canned((ctx.order.emergency or Declaration()).reason or ""),
        "denied_before": any(d.decision is Verdict.DENY for d in ctx.history),
        "other_patient": ctx.other_patient,
    }
    return tuple(flag for flag, up in raised.items() if up)

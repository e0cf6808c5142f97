"""The to-do list of an answer, drawn from its findings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from app.engine.calendar import add_working_days, closing_time
from app.engine.context import OrderContext
from app.engine.judge import DENYING
from app.engine.model import Checkpoint, Disposition, Finding, Message, Obligation, Urgency
from app.engine.override import missing_of
from app.engine.reasons import BY_CHECKPOINT

_CONFIRM = Message(
    zh="本例仅凭“急诊”放宽了术前要求，须在下一工作日前由医务办确认急诊属实。",
    en="Requirements were relaxed on the word emergency alone: the medical affairs office confirms it by the next working day.",
)


def obligations_of(ctx: OrderContext, findings: Sequence[Finding]) -> tuple[Obligation, ...]:
    """One obligation per reason code whose finding obliges, and `emergency_to_confirm` where urgency alone turned a denial into one."""
    found: dict[tuple[str, str], Obligation] = {}
    for finding in findings:
        if finding.disposition is Disposition.OBLIGATION:
            obligation = Obligation(finding.code, finding.message, _due_at(ctx, finding), finding.basis)
            found.setdefault((finding.code, finding.message.zh), obligation)
    obligations = tuple(found.values())
    if any(_relaxed_by_urgency(ctx, finding) for finding in findings) and (ctx.order.emergency is None or missing_of(ctx)):
        due = _end_of(ctx, add_working_days(ctx.today, 1, ctx.hospital.office_hours))
        obligations += (Obligation("emergency_to_confirm", _CONFIRM, due, "SGM-2022 art. 21"),)
    return obligations


def _relaxed_by_urgency(ctx: OrderContext, finding: Finding) -> bool:
    if ctx.urgency is not Urgency.EMERGENCY or finding.code not in BY_CHECKPOINT or finding.disposition in DENYING:
        return False
    return ctx.hospital.disposition(finding.code, ctx.checkpoint, Urgency.URGENT) in DENYING


def _due_at(ctx: OrderContext, finding: Finding) -> datetime | None:
    """When it must be done: a filing by its day, what an order lacks before the operation begins."""
    due_on = finding.facts.get("due_on")
    if isinstance(due_on, str):
        return _end_of(ctx, date.fromisoformat(due_on))
    return ctx.order.planned_start if ctx.checkpoint is Checkpoint.ORDER else None


def _end_of(ctx: OrderContext, day: date) -> datetime:
    return closing_time(day, ctx.hospital.office_hours, ctx.hospital.time_zone)

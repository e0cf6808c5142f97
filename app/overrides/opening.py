"""What is opened with an `override` decision, drawn from the order and its answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from app.cache.live import LiveHospital
from app.engine.codes import normalize_text
from app.engine.model import Decision, Order, ProcedureResult, Verdict
from app.store.overrides import Opening


def opening_of(order: Order, decision: Decision, live: LiveHospital, key_id: str) -> Opening | None:
    """The override that this decision opens; None where it is none."""
    declared, override = order.emergency, decision.override
    if decision.decision is not Verdict.OVERRIDE or declared is None or override is None:
        return None
    assert decision.decision_id is not None
    assert override.id is not None
    assert override.review_due_at is not None
    reported = declared.reported_at if declared.reported_to else None
    return Opening(
        id=override.id,
        decision_id=decision.decision_id,
        case_id=order.case_id,
        at=_utc(decision.evaluated_at),
        day=decision.evaluated_at.date().isoformat(),
        hour=decision.evaluated_at.hour,
        department=live.compiled.catalog.department(order.department),
        declared_by=normalize_text(declared.declared_by or ""),
        reason_code=declared.reason_code or "",
        reason=declared.reason or "",
        reported_to=declared.reported_to or "" if reported else "",
        reported_at=None if reported is None else _utc(reported),
        late=override.late,
        review_due_at=_utc(override.review_due_at),
        flags=override.flags,
        participants=tuple(sorted(set(participants_of(order)))),
        operators=tuple(dict.fromkeys(_let_through(decision))),
        codes=tuple(dict.fromkeys(p.code for p in _lifted(decision))),
        key_id=key_id,
    )


def participants_of(order: Order) -> Iterator[str]:
    """Everybody whom a document names: none of them reviews what they took part in."""
    yield from (procedure.operator for procedure in order.procedures)
    yield from (member.staff for member in order.team)
    if order.requester:
        yield order.requester
    if order.emergency is not None and order.emergency.declared_by:
        yield normalize_text(order.emergency.declared_by)


def _lifted(decision: Decision) -> tuple[ProcedureResult, ...]:
    """The procedures that the declaration lifted; all of them where only the team or the case needed it."""
    return tuple(p for p in decision.procedures if p.decision is Verdict.OVERRIDE) or decision.procedures


def _let_through(decision: Decision) -> Iterator[str]:
    lifted = [p.operator for p in decision.procedures if p.decision is Verdict.OVERRIDE]
    lifted += [m.staff for m in decision.team if m.decision is Verdict.OVERRIDE]
    yield from lifted or [p.operator for p in decision.procedures]


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")

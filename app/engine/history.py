"""The case so far, as later checkpoints are judged against it."""

from __future__ import annotations

from app.engine.model import CaseHistory, Decision, Order, PastDecision, PastProcedure


def extended(history: CaseHistory | None, order: Order, decision: Decision) -> CaseHistory:
    """The history with one more decision. Another patient under the case id, which only an emergency may bring, starts a new one."""
    earlier = history.decisions if history is not None and history.patient_id == order.patient.id else ()
    return CaseHistory(order.patient.id, (*earlier, past_decision(decision)))


def past_decision(decision: Decision) -> PastDecision:
    """What later checkpoints need of a decision."""
    procedures = tuple(PastProcedure(p.code, p.operator) for p in decision.procedures)
    return PastDecision(decision.checkpoint, decision.decision, procedures)

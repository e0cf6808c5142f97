"""The case so far, as later checkpoints are judged against it."""

from __future__ import annotations

from app.engine.model import CaseHistory, Decision, Order, PastDecision, PastProcedure


def extended(history: CaseHistory | None, order: Order, decision: Decision) -> CaseHistory:
    """The history with one more decision. The case stays with its first patient: what an emergency brought under its id for another one was
    judged as a case of its own and is not the case's."""
    if history is not None and history.patient_id != order.patient.id:
        return history
    earlier = history.decisions if history is not None else ()
    return CaseHistory(order.patient.id, (*earlier, past_decision(decision)))


def past_decision(decision: Decision) -> PastDecision:
    """What later checkpoints need of a decision."""
    procedures = tuple(PastProcedure(p.code, p.operator) for p in decision.procedures)
    return PastDecision(decision.checkpoint, decision.decision, procedures)

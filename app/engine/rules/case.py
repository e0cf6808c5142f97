"""Rules about the case so far: the previous checkpoint and what it allowed; and about judging at all."""

from __future__ import annotations

from app.engine.context import MemberContext, OrderContext, ProcedureContext
from app.engine.model import Checkpoint, PastDecision, Urgency, Verdict
from app.engine.rules.found import NOTHING, Found

CHECKPOINT_TEXTS = {
    Checkpoint.ORDER: ("手术医嘱", "surgery order"),
    Checkpoint.NOTICE: ("手术通知单", "surgery notice"),
    Checkpoint.ANESTHESIA: ("麻醉记录单", "anesthesia record"),
    Checkpoint.INTRAOP: ("术中变更术式", "intra-operative change"),
}


def upstream(ctx: OrderContext) -> tuple[Found, ...]:
    """The previous checkpoint denied, or never allowed. An emergency may start at any checkpoint."""
    before = _checkpoint_before(ctx)
    if before is None:
        return NOTHING
    zh, en = CHECKPOINT_TEXTS[before]
    facts = {"upstream": before.value, "upstream_zh": zh, "upstream_en": en}
    last = ctx.last_at(before)
    if last is not None:
        return (Found("upstream_denied", {**facts}),) if last.decision is Verdict.DENY else NOTHING
    return NOTHING if ctx.urgency is Urgency.EMERGENCY else (Found("upstream_missing", {**facts}),)


def plan_changed(ctx: OrderContext) -> tuple[Found, ...]:
    """Operator or procedures differ from what the previous checkpoint allowed; at `intraop`, from the case's last allowed decision."""
    before = _checkpoint_before(ctx)
    if before is None:
        return NOTHING
    allowed = ctx.last_allowed(None if ctx.checkpoint is Checkpoint.INTRAOP else before)
    if allowed is None:
        return NOTHING
    planned, now = _plan(allowed), set(ctx.plan)
    if planned == now:
        return NOTHING
    added, dropped = sorted(now - planned), sorted(planned - now)
    texts = [*(f"+{code}/{operator}" for code, operator in added), *(f"-{code}/{operator}" for code, operator in dropped)]
    facts = {"added": [list(p) for p in added], "dropped": [list(p) for p in dropped], "allowed_at": allowed.checkpoint.value}
    return (Found("plan_changed", {**facts, "changes_zh": "，".join(texts), "changes_en": ", ".join(texts)}),)


def matrix_unavailable(ctx: OrderContext | ProcedureContext | MemberContext) -> tuple[Found, ...]:
    """There is no grant matrix fresh enough to judge by."""
    whole = ctx if isinstance(ctx, OrderContext) else ctx.whole
    return NOTHING if whole.matrix is not None else (Found("matrix_unavailable", {}),)


def _checkpoint_before(ctx: OrderContext) -> Checkpoint | None:
    """The checkpoint that must have allowed. `intraop` looks at the anesthesia record and, where there is none, at the notice."""
    if ctx.checkpoint is Checkpoint.NOTICE:
        return Checkpoint.ORDER
    if ctx.checkpoint is Checkpoint.ANESTHESIA:
        return Checkpoint.NOTICE
    if ctx.checkpoint is Checkpoint.INTRAOP:
        return Checkpoint.ANESTHESIA if ctx.last_at(Checkpoint.ANESTHESIA) is not None else Checkpoint.NOTICE
    return None


def _plan(decision: PastDecision) -> set[tuple[str, str]]:
    return {(p.code, p.operator) for p in decision.procedures}

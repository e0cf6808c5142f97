"""Rules about grants: the operator's privilege for the entry, the requester's right to order."""

from __future__ import annotations

from app.engine.context import ProcedureContext
from app.engine.model import Disposition, StaffStatus
from app.engine.reasons import GRANT_FINDINGS
from app.engine.rules.found import NOTHING, Found
from app.engine.standing import is_granted, standings

_RANK = {code: rank for rank, code in enumerate(GRANT_FINDINGS)}


def operator_grant(ctx: ProcedureContext) -> tuple[Found, ...]:
    """No grant of the operator covers an entry. One finding per procedure, the one nearest to a privilege.

    Where no entry remains, the rules of the catalog deny; should a policy have loosened these, the entries that dropped out are asked for, and
    a code without any is granted to nobody.
    """
    lacking = [standing for standing in ctx.standings if standing is not None]
    if not ctx.resolved.entries and ctx.operator is not None and not _catalog_denies(ctx):
        dropped = standings(ctx.operator, ctx.resolved.siblings, ctx.resolved.siblings, ctx.question)
        if not dropped:
            return (Found("grant_missing", {"entry": ctx.code}),)
        lacking = [standing for standing in dropped if standing is not None]
    if not lacking:
        return NOTHING
    nearest = min(lacking, key=lambda standing: _RANK[standing.code])
    others = {code for standing in lacking for code in (standing.code, *standing.facts.get("also", ()))} - {nearest.code}
    also = {"also": sorted(others, key=_RANK.__getitem__)} if others else {}
    return (Found(nearest.code, {**nearest.facts, **also}),)


def _catalog_denies(ctx: ProcedureContext) -> bool:
    whole = ctx.whole
    code = "department_not_listed" if ctx.resolved.known else "code_unknown"
    return whole.hospital.disposition(code, whole.checkpoint, whole.urgency) in (Disposition.FINAL, Disposition.OVERRIDABLE)


def order_right(ctx: ProcedureContext) -> tuple[Found, ...]:
    """The hospital separates the right to order from the right to perform, and the requester holds neither."""
    whole = ctx.whole
    if not whole.hospital.policy.order_right or whole.matrix is None:
        return NOTHING
    requester = whole.order.requester
    if not requester:
        return (Found("order_right_missing", {"requester": None, "who_zh": "未填写开单医师，", "who_en": "No requester is named, who"}),)
    row = whole.matrix.person(requester)
    if row is not None and row.staff.status is StaffStatus.ACTIVE:
        question = ctx.question
        if ctx.resolved.entries and all(
            is_granted(row.ordering, e, question) or is_granted(row.held, e, question) for e in ctx.resolved.entries
        ):
            return NOTHING
    who = {"who_zh": f"开单医师 {requester} ", "who_en": f"Requester {requester}"}
    return (Found("order_right_missing", {"requester": requester, **who}),)

"""Rules about grants: the operator's privilege for the entry, the requester's right to order."""

from __future__ import annotations

from app.engine.context import ProcedureContext
from app.engine.model import StaffStatus
from app.engine.reasons import GRANT_FINDINGS
from app.engine.rules.found import NOTHING, Found
from app.engine.standing import is_granted

_RANK = {code: rank for rank, code in enumerate(GRANT_FINDINGS)}


def operator_grant(ctx: ProcedureContext) -> tuple[Found, ...]:
    """No grant of the operator covers an entry. One finding per procedure, the one nearest to a privilege."""
    lacking = [standing for standing in ctx.standings if standing is not None]
    if not lacking:
        return NOTHING
    nearest = min(lacking, key=lambda standing: _RANK[standing.code])
    return (Found(nearest.code, nearest.facts),)


def order_right(ctx: ProcedureContext) -> tuple[Found, ...]:
    """The hospital separates the right to order from the right to perform, and the requester holds neither."""
    whole = ctx.whole
    if not whole.hospital.policy.order_right or whole.matrix is None:
        return NOTHING
    requester = whole.order.requester
    if not requester:
        return (Found("order_right_missing", {"requester": "—"}),)
    row = whole.matrix.person(requester)
    if row is not None and row.staff.status is StaffStatus.ACTIVE:
        question = ctx.question
        if all(is_granted(row.ordering, e, question) or is_granted(row.grants, e, question) for e in ctx.resolved.entries):
            return NOTHING
    return (Found("order_right_missing", {"requester": requester}),)

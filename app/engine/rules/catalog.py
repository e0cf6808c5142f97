"""Rules about what the code means here: in the catalog at all, for this department, one entry or several."""

from __future__ import annotations

from app.engine.context import ProcedureContext
from app.engine.rules.found import NOTHING, Found


def code_unknown(ctx: ProcedureContext) -> tuple[Found, ...]:
    """The code is not in the hospital's catalog: it was never argued and admitted here."""
    return NOTHING if ctx.resolved.known else (Found("code_unknown", {"code": ctx.code}),)


def department_not_listed(ctx: ProcedureContext) -> tuple[Found, ...]:
    """The catalog has the code, but no entry of the order's department is left."""
    if not ctx.resolved.known or ctx.resolved.entries:
        return NOTHING
    listed = ";".join(sorted({d for e in ctx.resolved.pool for d in e.departments}))
    return (Found("department_not_listed", {"department": ctx.whole.department, "listed": listed}),)


def entry_ambiguous(ctx: ProcedureContext) -> tuple[Found, ...]:
    """Several entries remain and the operator is not privileged for all: ambiguity is never resolved in the surgeon's favour."""
    entries = ctx.resolved.entries
    if len(entries) < 2 or ctx.operator is None or all(standing is None for standing in ctx.standings):
        return NOTHING
    lacking = [e.entry.item or e.code for e, standing in zip(entries, ctx.standings, strict=True) if standing is not None]
    return (Found("entry_ambiguous", {"count": len(entries), "lacking": lacking}),)

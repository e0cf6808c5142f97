"""From an order's procedures to what the rules judge: codes, entries, technologies, the operator's standing."""

from __future__ import annotations

from collections.abc import Sequence

from app.engine.catalog import Catalog, Resolved, scope_key
from app.engine.context import OrderContext, ProcedureContext
from app.engine.model import Procedure, ScopeType
from app.engine.standing import Question, standings
from app.engine.technologies import RAISED_LEVEL, Identified, raises_level

_NO_TECHNOLOGIES: tuple[Identified, ...] = ()


def procedure_contexts(whole: OrderContext) -> tuple[ProcedureContext, ...]:
    """One context per procedure of the order, in its order; `whole.plan` and `whole.flags` are set on the way.

    Raises:
        MalformedCode: a code that cannot be one.
    """
    procedures = whole.order.procedures
    catalog, technologies = whole.hospital.catalog, whole.hospital.technologies
    if len(procedures) == 1:
        # The common order, without the lists that several procedures need.
        procedure = procedures[0]
        one = catalog.resolve_as_sent(procedure, whole.department, whole.child)
        code = one.code
        whole.plan, whole.flags = ((code, procedure.operator),), one.flags
        if not one.watch:
            return (context_of(whole, procedure, code, one, _NO_TECHNOLOGIES),)
        return (context_of(whole, procedure, code, one, technologies.identify([one.watch], whole.diagnoses, whole.urgency)[0]),)
    codes = [catalog.canonical(p.code) for p in procedures]
    resolved = _resolve(whole, procedures, codes)
    whole.plan = tuple([(code, p.operator) for p, code in zip(procedures, codes, strict=True)])
    whole.flags = frozenset().union(*(r.flags for r in resolved))
    identified = technologies.identify([r.watch for r in resolved], whole.diagnoses, whole.urgency)
    return tuple([context_of(whole, *each) for each in zip(procedures, codes, resolved, identified, strict=True)])


def _resolve(whole: OrderContext, procedures: Sequence[Procedure], codes: Sequence[str]) -> list[Resolved]:
    catalog, department, child = whole.hospital.catalog, whole.department, whole.child
    combined = catalog.combination_rows(codes) if _may_combine(catalog, codes) else {}
    return [
        catalog.resolve_as(combined[code], code, procedure, department, child)
        if code in combined
        else catalog.resolve(code, procedure, department, child)
        for procedure, code in zip(procedures, codes, strict=True)
    ]


def _may_combine(catalog: Catalog, codes: Sequence[str]) -> bool:
    return bool(catalog.combinations) and not catalog.parts_and_aliases.isdisjoint(codes)


def context_of(
    whole: OrderContext,
    procedure: Procedure,
    code: str,
    resolved: Resolved,
    technologies: tuple[Identified, ...],
    grantable: tuple[Identified, ...] | None = None,
) -> ProcedureContext:
    """The context of a procedure whose entries and technologies are known. `grantable`: the technologies whose own grants may count where they
    are identified for certain; None means all of them."""
    level = resolved.level
    keys: tuple[str, ...] = ()
    if technologies:
        level = RAISED_LEVEL if raises_level(technologies) else level
        keys = tuple(
            [
                scope_key(ScopeType.TECHNOLOGY, i.technology.id)
                for i in (technologies if grantable is None else grantable)
                if i.certain and i.technology.grantable
            ]
        )
    question = Question(whole.department, whole.first_day, whole.last_day, level or RAISED_LEVEL, keys)
    operator = whole.matrix.person(procedure.operator) if whole.matrix is not None else None
    standing = standings(operator, resolved.entries, resolved.siblings, question) if operator is not None else ()
    return ProcedureContext(whole, procedure, code, resolved, technologies, level, question, operator, standing)

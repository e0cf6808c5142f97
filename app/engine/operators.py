"""Who else may operate: people who would be allowed on that day, own department first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from app.engine.catalog import CatalogEntry
from app.engine.checkpoints import MEMBER_RULES, PROCEDURE_RULES
from app.engine.context import MemberContext, ProcedureContext
from app.engine.judge import DENYING, run
from app.engine.matrix import Matrix
from app.engine.model import Colleague, Disposition, Finding, ScopeType, TeamRole
from app.engine.rules.theatre import GRADE_KEYS
from app.engine.standing import ITEMIZED_FROM_LEVEL, standings

MAX_COLLEAGUES = 10
"""More names than that nobody calls."""

_PERSON_RULES = tuple(rule for rule in PROCEDURE_RULES if rule.about_operator)
_ABOUT_PERSON = frozenset(code for rule in _PERSON_RULES for code in rule.codes)
_GRADED = {TeamRole.ANESTHESIOLOGIST: ScopeType.ASA, TeamRole.PERFUSIONIST: ScopeType.PERFUSION}


def colleagues_for_procedure(ctx: ProcedureContext, findings: Iterable[Finding], most: int = MAX_COLLEAGUES) -> tuple[Colleague, ...]:
    """Who may perform this procedure; empty where a final finding bars everybody, and where the hospital has no entry for it."""
    whole = ctx.whole
    barred = any(f.disposition is Disposition.FINAL and f.code not in _ABOUT_PERSON for f in findings)
    if barred or whole.matrix is None or not ctx.resolved.entries:
        return ()
    return tuple(islice((c for c in able_colleagues(ctx) if c.staff != ctx.procedure.operator), most))


def able_colleagues(ctx: ProcedureContext, after: tuple[str, str] | None = None) -> Iterator[Colleague]:
    """Everybody who may perform this procedure as far as the person goes, one by one: the own department first, then the others by name, within
    each by staff number. `after`: department and staff number of somebody behind whom to begin."""
    matrix, own = ctx.whole.matrix, ctx.whole.department
    if matrix is None or not ctx.resolved.entries:
        return
    begin = None if after is None else (after[0] != own, *after)
    for department, number in _holders(matrix, _keys_of_rarest(ctx), own):
        if (begin is None or (department != own, department, number) > begin) and may_operate(ctx, number):
            yield _colleague(matrix, number)


def may_operate(ctx: ProcedureContext, number: str) -> bool:
    """Whether that person would be allowed as operator of this procedure, as far as the person goes."""
    matrix = ctx.whole.matrix
    row = matrix.person(number) if matrix is not None else None
    if row is None:
        return False
    resolved = ctx.resolved
    standing = standings(row.grants, resolved.entries, resolved.siblings, ctx.question)
    if any(s is not None for s in standing):
        return False
    procedure = msgspec.structs.replace(ctx.procedure, operator=number)
    other = ProcedureContext(ctx.whole, procedure, ctx.code, resolved, ctx.technologies, ctx.level, ctx.question, row, standing)
    return not any(f.disposition in DENYING for f in run(_PERSON_RULES, other, ctx.whole))


def colleagues_for_member(ctx: MemberContext, most: int = MAX_COLLEAGUES) -> tuple[Colleague, ...]:
    """Who may take an anesthesiologist's or a perfusionist's place; empty for other roles, of which no privilege is asked."""
    whole, role = ctx.whole, ctx.member.role
    scope_type = _GRADED.get(role)
    if scope_type is None or whole.matrix is None:
        return ()
    grade = whole.asa if scope_type is ScopeType.ASA else whole.grade
    keys = GRADE_KEYS[scope_type][(grade or 1) - 1 :]
    own = ctx.person.staff.department if ctx.person is not None else None
    found: list[Colleague] = []
    for _, number in _holders(whole.matrix, keys, own):
        if number != ctx.member.staff and _may_serve(ctx, number):
            found.append(_colleague(whole.matrix, number))
            if len(found) == most:
                break
    return tuple(found)


def _may_serve(ctx: MemberContext, number: str) -> bool:
    whole = ctx.whole
    member = msgspec.structs.replace(ctx.member, staff=number)
    other = MemberContext(whole, member, whole.matrix.person(number) if whole.matrix is not None else None)
    return not any(f.disposition in DENYING for f in run(MEMBER_RULES[ctx.member.role], other, whole))


def _keys_of_rarest(ctx: ProcedureContext) -> list[str]:
    """The scopes that cover the entry with the fewest holders: whoever may operate is among those."""
    matrix = ctx.whole.matrix
    assert matrix is not None

    def keys(entry: CatalogEntry) -> list[str]:
        by_level = () if ctx.question.level >= ITEMIZED_FROM_LEVEL else entry.level_covers
        return [*(cover.key for cover in entry.covers), *by_level, *ctx.question.technology_keys]

    return min(map(keys, ctx.resolved.entries), key=lambda ks: sum(len(n) for k in ks for n in matrix.holders.get(k, {}).values()))


def _holders(matrix: Matrix, keys: Sequence[str], own: str | None) -> Iterator[tuple[str, str]]:
    """Everybody who holds one of the scopes, as (department, staff number): the own department first, then the others by name, within each by
    staff number."""
    by_scope = [matrix.holders.get(key, {}) for key in keys]
    departments = sorted({d for held in by_scope for d in held}, key=lambda d: (d != own, d))
    for department in departments:
        yield from ((department, number) for number in sorted({n for held in by_scope for n in held.get(department, ())}))


def _colleague(matrix: Matrix, number: str) -> Colleague:
    staff = matrix.rows[number].staff
    return Colleague(number, staff.name, staff.department)


__all__ = ["MAX_COLLEAGUES", "able_colleagues", "colleagues_for_member", "colleagues_for_procedure", "may_operate"]

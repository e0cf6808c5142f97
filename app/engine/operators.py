"""Who else may operate: people who would be allowed on that day, own department first; in an emergency those on duty before all others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice

from app.engine.catalog import CatalogEntry
from app.engine.checkpoints import MEMBER_RULES, PROCEDURE_RULES
from app.engine.context import MemberContext, OrderContext, ProcedureContext
from app.engine.judge import DENYING, run
from app.engine.matrix import Matrix
from app.engine.model import Colleague, Disposition, Finding, Procedure, ScopeType, TeamMember, TeamRole, Urgency
from app.engine.rules.theatre import GRADE_KEYS
from app.engine.standing import ITEMIZED_FROM_LEVEL, is_granted

MAX_COLLEAGUES = 10
"""More names than that nobody calls."""

_PERSON_RULES = tuple(rule for rule in PROCEDURE_RULES if rule.about_operator)
_ABOUT_PERSON = frozenset(code for rule in _PERSON_RULES for code in rule.codes)
_GRADED = {TeamRole.ANESTHESIOLOGIST: ScopeType.ASA, TeamRole.PERFUSIONIST: ScopeType.PERFUSION}


def colleagues_for_procedure(ctx: ProcedureContext, findings: Iterable[Finding], of_case: Iterable[Finding]) -> tuple[Colleague, ...]:
    """Who may perform this procedure; empty where a final finding, its own or of the case, bars everybody, and where the hospital has no
    entry for it."""
    whole = ctx.whole
    barred = any(f.disposition is Disposition.FINAL and f.code not in _ABOUT_PERSON for f in findings)
    barred |= any(f.disposition is Disposition.FINAL for f in of_case)
    if barred or whole.matrix is None or not ctx.resolved.entries:
        return ()
    candidates = _to_call(whole, whole.matrix, _holders(whole.matrix, _keys_of_rarest(ctx), whole.department))
    able = (number for _, number in candidates if number != ctx.procedure.operator and may_operate(ctx, number))
    return _first(whole, whole.matrix, able)


def able_colleagues(ctx: ProcedureContext, after: tuple[str, str] | None = None) -> Iterator[Colleague]:
    """Everybody who may perform this procedure as far as the person goes, one by one: the own department first, then the others by name, within
    each by staff number, whoever is on duty. `after`: department and staff number of somebody behind whom to begin."""
    matrix, own = ctx.whole.matrix, ctx.whole.department
    if matrix is None or not ctx.resolved.entries:
        return
    begin = None if after is None else (after[0] != own, *after)
    for department, number in _holders(matrix, _keys_of_rarest(ctx), own):
        if (begin is None or (department != own, department, number) > begin) and may_operate(ctx, number):
            yield _colleague(ctx.whole, matrix, number)


def may_operate(ctx: ProcedureContext, number: str) -> bool:
    """Whether that person would be allowed as operator of this procedure, as far as the person goes."""
    matrix = ctx.whole.matrix
    row = matrix.person(number) if matrix is not None else None
    if row is None or not all(is_granted(row.held, entry, ctx.question) for entry in ctx.resolved.entries):
        return False
    procedure = Procedure(ctx.procedure.code, number)
    granted = (None,) * len(ctx.resolved.entries)
    other = ProcedureContext(ctx.whole, procedure, ctx.code, ctx.resolved, ctx.technologies, ctx.level, ctx.question, row, granted)
    return not any(f.disposition in DENYING for f in run(_PERSON_RULES, other, ctx.whole))


def colleagues_for_member(ctx: MemberContext) -> tuple[Colleague, ...]:
    """Who may take an anesthesiologist's or a perfusionist's place; empty for other roles, of which no privilege is asked."""
    whole, role = ctx.whole, ctx.member.role
    scope_type = _GRADED.get(role)
    if scope_type is None or whole.matrix is None:
        return ()
    grade = whole.asa if scope_type is ScopeType.ASA else whole.grade
    keys = GRADE_KEYS[scope_type][(grade or 1) - 1 :]
    own = ctx.person.staff.department if ctx.person is not None else None
    candidates = _to_call(whole, whole.matrix, _holders(whole.matrix, keys, own))
    return _first(whole, whole.matrix, (number for _, number in candidates if number != ctx.member.staff and _may_serve(ctx, number)))


def _may_serve(ctx: MemberContext, number: str) -> bool:
    whole = ctx.whole
    member = TeamMember(number, ctx.member.role)
    other = MemberContext(whole, member, whole.matrix.person(number) if whole.matrix is not None else None)
    return not any(f.disposition in DENYING for f in run(MEMBER_RULES[ctx.member.role], other, whole))


def _keys_of_rarest(ctx: ProcedureContext) -> list[str]:
    """The scopes that cover the entry with the fewest holders: whoever may operate is among those."""
    matrix = ctx.whole.matrix
    assert matrix is not None

    def keys(entry: CatalogEntry) -> list[str]:
        by_level = () if ctx.question.level >= ITEMIZED_FROM_LEVEL else entry.level_covers
        return [*(cover.key for cover in entry.covers), *by_level, *ctx.question.technology_keys]

    entries = ctx.resolved.entries
    if len(entries) == 1:
        return keys(entries[0])
    return min(map(keys, entries), key=lambda ks: sum(len(n) for k in ks for n in matrix.holders.get(k, {}).values()))


def _holders(matrix: Matrix, keys: Sequence[str], own: str | None) -> Iterator[tuple[str, str]]:
    """Everybody who holds one of the scopes, as (department, staff number): the own department first, then the others by name, within each by staff number.

    Lazily: whoever looks for ten people pays for ten, however many hold the scope.
    """
    by_scope = [held for key in keys if (held := matrix.holders.get(key)) is not None]
    departments = sorted({department for held in by_scope for department in held}, key=lambda name: (name != own, name))
    for department in departments:
        last = None
        for number in merge(*[held[department] for held in by_scope if department in held]):
            if number != last:
                yield department, number
            last = number


def _to_call(whole: OrderContext, matrix: Matrix, holders: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """The holders in the order in which to call them: in an emergency those on duty first, otherwise as they come."""
    on_duty = matrix.on_duty(whole.now) if whole.urgency is Urgency.EMERGENCY else ()
    return sorted(holders, key=lambda held: held[1] not in on_duty) if on_duty else holders


def _first(whole: OrderContext, matrix: Matrix, numbers: Iterable[str]) -> tuple[Colleague, ...]:
    return tuple([_colleague(whole, matrix, number) for number in islice(numbers, MAX_COLLEAGUES)])


def _colleague(whole: OrderContext, matrix: Matrix, number: str) -> Colleague:
    row = matrix.rows[number]
    return Colleague(number, row.staff.name, row.staff.department, row.on_duty(whole.now))


__all__ = ["MAX_COLLEAGUES", "able_colleagues", "colleagues_for_member", "colleagues_for_procedure", "may_operate"]

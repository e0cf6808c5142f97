"""How a person stands to a catalog entry: granted, or what is wrong, nearest to a privilege first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from msgspec.structs import replace

from app.engine.catalog import CatalogEntry, Cover, scope_key
from app.engine.matrix import Held, PersonRow, Terms, evaluation_due, evaluation_overdue
from app.engine.model import Facts, Grant, GrantState, Value
from app.engine.reasons import GRANT_FINDINGS

_ACTIVE = GrantState.ACTIVE  # bound once: reading a member off its enum costs 80 ns on CPython 3.11, a global 11 ns
_NO_TERMS: tuple[Terms, ...] = ()
_RANK = {code: rank for rank, code in enumerate(GRANT_FINDINGS)}

ITEMIZED_FROM_LEVEL = 3
"""Levels 3 and 4 are granted item by item, never as a level (SGM-2022 art. 16)."""

EVALUATED_LEVEL = 4
"""The level whose grants must be evaluated every year (SGM-2022 art. 17)."""


class Standing(Value, frozen=True):
    """Why a person may not do an entry: a grant's reason code and what was seen."""

    code: str
    facts: Facts


class Question(Value, frozen=True):
    """What is asked of grants beside the entry: for which department, on which days (that of surgery and the last one that counts), at which
    level the procedure is managed, and under which technology scopes it may be granted."""

    department: str | None
    first_day: date
    last_day: date
    level: int
    technology_keys: tuple[str, ...] = ()


GRANTED = (None,)
"""The standing to the one entry that remains, where there is but one and it is granted: most orders are such."""


def standings(
    row: PersonRow, entries: Sequence[CatalogEntry], siblings: Sequence[CatalogEntry], question: Question
) -> tuple[Standing | None, ...]:
    """For each entry that remains: None where the person's grants cover it, otherwise what is wrong with them."""
    if len(entries) == 1 and is_granted(row.held, entries[0], question):
        return GRANTED
    return tuple([None if is_granted(row.held, entry, question) else _why_not(row, entry, siblings, question) for entry in entries])


def is_granted(held: Held, entry: CatalogEntry, question: Question) -> bool:
    """Whether one of the grants held covers the entry and is in order on every day that counts."""
    for key in entry.keys:
        for terms in held.get(key, _NO_TERMS):
            if _counts(terms, entry, None, question):
                return True
    for key, starts in entry.bound_covers:
        for terms in held.get(key, _NO_TERMS):
            if _counts(terms, entry, starts, question):
                return True
    for key in _other_keys(entry, question):
        for terms in held.get(key, _NO_TERMS):
            if _counts(terms, entry, None, question):
                return True
    return False


def _counts(terms: Terms, entry: CatalogEntry, starts: frozenset[str] | None, question: Question) -> bool:
    """Whether a grant of a scope that covers the entry fits its department and is in order."""
    fits = not terms.department or _department_fits(terms, entry, starts, question.department)
    return fits and _problem(terms, question.first_day, question.last_day, question.level) is None


def grants_in_order(row: PersonRow, entry: CatalogEntry, question: Question) -> list[Grant]:
    """Of the grants held, those that cover the entry and are in order: any of them makes it granted."""
    days = question.first_day, question.last_day
    return [g for g in _scoped(row, entry, question, fitting=True) if _problem(g, *days, question.level) is None]


def in_force(grant: Grant, first_day: date, last_day: date) -> bool:
    """Whether a grant is active and in its period on every day that counts, its yearly evaluation aside."""
    return _problem(grant, first_day, last_day, level=1) is None


def _other_keys(entry: CatalogEntry, question: Question) -> tuple[str, ...]:
    """Scopes beside code and item: the level, up to 2, and technologies that are grantable."""
    return question.technology_keys if question.level >= ITEMIZED_FROM_LEVEL else entry.level_covers + question.technology_keys


def _department_fits(grant: Grant | Terms, entry: CatalogEntry, starts: frozenset[str] | None, department: str | None) -> bool:
    """A grant's department is compared with the entry's, or with the order's where the entry has none. `starts`: where something granted
    directly leads to the entry (see `Cover`)."""
    own = grant.department
    if not own:
        return True
    if starts is not None and own not in starts:
        return False
    return own in entry.departments if entry.departments else own == department


def _problem(grant: Grant | Terms, first_day: date, last_day: date, level: int) -> str | None:
    """What keeps a covering grant from being a privilege; of several things the gravest."""
    if grant.state is not _ACTIVE:
        return "grant_revoked" if grant.state is GrantState.REVOKED else "grant_suspended"
    if grant.valid_from > first_day:
        return "grant_not_yet_valid"
    if grant.valid_to is not None and grant.valid_to < last_day:
        return "grant_expired"
    if level >= EVALUATED_LEVEL and (
        evaluation_overdue(grant, first_day) or (last_day is not first_day and evaluation_overdue(grant, last_day))
    ):
        return "grant_evaluation_overdue"
    return None


def _in_force(grant: Grant, question: Question) -> bool:
    return in_force(grant, question.first_day, question.last_day)


def _why_not(row: PersonRow, entry: CatalogEntry, siblings: Sequence[CatalogEntry], question: Question) -> Standing:
    found = [
        _of_grant(grant, problem, question.last_day)
        for grant in _scoped(row, entry, question, fitting=True)
        if (problem := _problem(grant, question.first_day, question.last_day, question.level)) is not None
    ]
    found += _other_grants(row, entry, siblings, question)
    if not found:
        return Standing("grant_missing", {"item": entry.entry.item, "entry": entry.code})
    nearest = min(found, key=lambda standing: _RANK[standing.code])
    others = sorted({standing.code for standing in found} - {nearest.code}, key=_RANK.__getitem__)
    return replace(nearest, facts=nearest.facts | {"also": others}) if others else nearest


def _scoped(row: PersonRow, entry: CatalogEntry, question: Question, *, fitting: bool) -> Iterable[Grant]:
    """The grants whose scope covers the entry and whose department fits it, or does not."""
    covers = (*entry.covers, *(Cover(key, None) for key in _other_keys(entry, question)))
    for key, starts in covers:
        for grant in row.of_scope(key):
            if _department_fits(grant, entry, starts, question.department) is fitting:
                yield grant


def _other_grants(row: PersonRow, entry: CatalogEntry, siblings: Sequence[CatalogEntry], question: Question) -> Iterable[Standing]:
    """Grants in force that do not cover the entry but come near: a level grant, one for a lower or another department's entry of the same
    code, one whose department does not fit."""
    if question.level >= ITEMIZED_FROM_LEVEL:
        for key in entry.level_covers:
            for grant in row.of_scope(key):
                if _department_fits(grant, entry, None, question.department) and _in_force(grant, question):
                    yield Standing("grant_not_itemized", {"grant": grant.id, "granted_level": grant.scope, "managed_level": question.level})
    for sibling in siblings:
        if sibling is not entry:
            yield from _of_sibling(row, entry, sibling, question)
    for grant in _scoped(row, entry, question, fitting=False):
        if _in_force(grant, question):
            yield Standing("grant_department_mismatch", {"grant": grant.id, "granted_department": grant.department})


def _of_sibling(row: PersonRow, entry: CatalogEntry, sibling: CatalogEntry, question: Question) -> Iterable[Standing]:
    for grant in _scoped(row, sibling, question, fitting=True):
        if not _in_force(grant, question):
            continue
        if sibling.lower_than(entry):
            granted = sibling.entry.hospital_grade or str(sibling.level)
            yield Standing("grant_level_exceeded", {"grant": grant.id, "granted": granted, "granted_level": sibling.level})
        elif sibling.departments and question.department not in sibling.departments:
            yield Standing("grant_department_mismatch", {"grant": grant.id, "granted_department": ";".join(sorted(sibling.departments))})


def _of_grant(grant: Grant, problem: str, last_day: date) -> Standing:
    facts: Facts = {"grant": grant.id, "scope": scope_key(grant.scope_type, grant.scope), "state": grant.state.value}
    facts["valid_from"] = grant.valid_from.isoformat()
    facts["valid_to"] = grant.valid_to.isoformat() if grant.valid_to is not None else None
    if problem == "grant_evaluation_overdue":
        facts["last_evaluated"] = grant.last_evaluated.isoformat() if grant.last_evaluated is not None else None
        facts["due_on"] = evaluation_due(grant, last_day).isoformat()
    return Standing(problem, facts)


def grade_standing(
    row: PersonRow, keys: Sequence[str], grade: int, department: str | None, first_day: date, last_day: date
) -> Standing | None:
    """How a person stands to an ASA class or a bypass grade, whose scopes are `keys` from grade 1 up: a grant covers its own grade and what
    lies below. A grant's department must be the order's or the person's own."""
    for key in keys[grade - 1 :]:
        for terms in row.held.get(key, _NO_TERMS):
            if _problem(terms, first_day, last_day, 1) is None and _serves(terms, row, department):
                return None
    return _why_not_grade(row, keys, grade, department, first_day, last_day)


def _serves(grant: Grant | Terms, row: PersonRow, department: str | None) -> bool:
    return not grant.department or grant.department in (department, row.staff.department)


def _why_not_grade(row: PersonRow, keys: Sequence[str], grade: int, department: str | None, first_day: date, last_day: date) -> Standing:
    def serving(some: Sequence[str]) -> Iterable[tuple[Grant, str | None]]:
        held = (grant for key in some for grant in row.of_scope(key) if _serves(grant, row, department))
        return ((grant, _problem(grant, first_day, last_day, level=1)) for grant in held)

    found = [_of_grant(grant, problem, last_day) for grant, problem in serving(keys[grade - 1 :]) if problem is not None]
    if found:
        return min(found, key=lambda standing: _RANK[standing.code])
    granted = [grant.scope for grant, problem in serving(keys[: grade - 1]) if problem is None]
    return Standing("grant_level_exceeded", {"granted": max(granted)}) if granted else Standing("grant_missing", {})

"""What a grant reaches, and which other grants of the same person reach it too.

Asked when a grant is suspended or revoked (what still covers the scope?) and when one is added (is it for something that the person holds
suspended or revoked?). Where conditions of an order decide (diagnoses, urgency, other codes), they count as met: better one grant named too
many than one too few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Literal, NamedTuple

from msgspec.structs import replace

from app.engine.catalog import CatalogEntry, scope_key
from app.engine.hospital import CompiledHospital
from app.engine.matrix import terms_of
from app.engine.model import Grant, GrantState, ScopeType
from app.engine.standing import ITEMIZED_FROM_LEVEL, Question, is_granted

GRADED = frozenset({ScopeType.ASA, ScopeType.PERFUSION})
"""Scopes that are a class or grade and what lies below."""


class StillCovering(NamedTuple):
    """A grant that covers another one's scope, all of it or a part."""

    grant: Grant
    covers: Literal["whole", "part"]


class _Place(NamedTuple):
    """Where a grant can hold: an entry, ordered by a department."""

    entry: CatalogEntry
    department: str | None
    technology_keys: tuple[str, ...]


def still_covering(grant: Grant, others: Iterable[Grant], hospital: CompiledHospital, today: date) -> tuple[StillCovering, ...]:
    """The person's other grants that cover the scope of one, now or from a later day on, whatever that one's own state."""
    candidates = [o for o in others if o.id != grant.id and o.role is grant.role and o.state is GrantState.ACTIVE and _lasts(o, today)]
    if grant.scope_type in GRADED:
        return tuple([StillCovering(o, _graded_part(o, grant)) for o in candidates if _graded_overlap(o, grant)])
    places = _places(grant, candidates, hospital, today)
    keys = {_key(grant)}.union(*(_keys(place) for place in places))
    found = []
    for other in candidates:
        if _key(other) not in keys:
            continue
        held = [_holds(other, place, max(today, other.valid_from)) for place in places]
        if any(held):
            found.append(StillCovering(other, "whole" if all(held) else "part"))
        elif not places and _key(other) == _key(grant):
            found.append(StillCovering(other, "whole"))
    return tuple(found)


def held_back(grant: Grant, others: Iterable[Grant], hospital: CompiledHospital, today: date) -> tuple[Grant, ...]:
    """The person's suspended and revoked grants that a new one would give back, in whole or in part: those of the same scope, whatever their
    department, and those that cover something that the new one covers."""
    stopped = [o for o in others if o.role is grant.role and o.state is not GrantState.ACTIVE]
    if not stopped:
        return ()
    running = {o.id: _running(o, today) for o in stopped}
    overlapping = {found.grant.id for found in still_covering(_running(grant, today), running.values(), hospital, today)}
    return tuple([o for o in stopped if _key(o) == _key(grant) or o.id in overlapping])


def _places(grant: Grant, others: Iterable[Grant], hospital: CompiledHospital, today: date) -> list[_Place]:
    """Everywhere that the grant holds while it runs. Entries of any department are tried with the departments that the person's grants name,
    and with one that none of them names."""
    running, key = _running(grant, today), _key(grant)
    named = {"", grant.department, *(o.department for o in others)}
    found = []
    for entry, technology_keys in _entries(key, hospital):
        for department in sorted(entry.departments or named):
            place = _Place(entry, department or None, technology_keys)
            if _holds(running, place, today):
                found.append(place)
    return found


def _entries(key: str, hospital: CompiledHospital) -> Iterator[tuple[CatalogEntry, tuple[str, ...]]]:
    """The entries that grants of a scope may cover, each with the technology scopes that may cover it."""
    by_technology = [
        (scope_key(ScopeType.TECHNOLOGY, t.id), frozenset().union(*(way.codes.union(*way.all_of) for way in t.identify)))
        for t in hospital.source.technologies
        if t.grantable
    ]
    for entry in hospital.catalog.entries:
        keys = tuple([technology for technology, codes in by_technology if not codes.isdisjoint(entry.watch)])
        by_level = entry.level < ITEMIZED_FROM_LEVEL and key in entry.level_covers
        if by_level or key in keys or any(cover.key == key for cover in entry.covers):
            yield entry, keys


def _keys(place: _Place) -> set[str]:
    """The scopes whose grants may hold there."""
    return {*(cover.key for cover in place.entry.covers), *place.entry.level_covers, *place.technology_keys}


def _holds(grant: Grant, place: _Place, on: date) -> bool:
    """Whether the engine would take the grant for a privilege there on that day."""
    question = Question(place.department, on, on, place.entry.level, place.technology_keys)
    return is_granted({_key(grant): (terms_of(grant),)}, place.entry, question)


def _key(grant: Grant) -> str:
    return scope_key(grant.scope_type, grant.scope)


def _lasts(grant: Grant, today: date) -> bool:
    return grant.valid_to is None or grant.valid_to >= today


def _running(grant: Grant, today: date) -> Grant:
    """The grant as if nothing but its scope and department could be wrong with it."""
    return replace(grant, state=GrantState.ACTIVE, valid_from=today, valid_to=None, last_evaluated=today)


def _graded_overlap(other: Grant, grant: Grant) -> bool:
    same_kind = other.scope_type is grant.scope_type
    return same_kind and (not other.department or not grant.department or other.department == grant.department)


def _graded_part(other: Grant, grant: Grant) -> Literal["whole", "part"]:
    reaches_up = int(other.scope) >= int(grant.scope)
    return "whole" if reaches_up and other.department in ("", grant.department) else "part"


__all__ = ["GRADED", "StillCovering", "held_back", "still_covering"]

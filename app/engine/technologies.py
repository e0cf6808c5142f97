"""Which technologies an order is: by codes, by codes with diagnoses, by combinations of codes, over the whole order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from app.engine.catalog import Catalog, scope_key
from app.engine.codes import diagnosis_matches, parts_of
from app.engine.model import RESTRICTED_KINDS, Identify, ScopeType, Technology, Urgency


class Identified(NamedTuple):
    """A technology that a procedure is. `certain` is False where the order carries no diagnosis to tell by: it may be."""

    technology: Technology
    certain: bool

    @property
    def restricted(self) -> bool:
        return self.technology.kind in RESTRICTED_KINDS


class Technologies:
    """A hospital's technologies, compiled: indexed by the codes that their rules look for.

    `counted` names, per technology, the scopes whose yearly volumes count for it where none are kept for the technology itself.
    """

    def __init__(self, technologies: Iterable[Technology], catalog: Catalog) -> None:
        self.by_id = {technology.id: technology for technology in technologies}
        self._ways = {technology.id: tuple(w for way in technology.identify for w in _ways(way)) for technology in self.by_id.values()}
        self._by_code: dict[str, tuple[Technology, ...]] = _by_code(self.by_id.values(), self._ways)
        self._place = {id_: place for place, id_ in enumerate(self.by_id)}
        items = _Items(catalog)
        self.counted = {technology.id: _counted(technology, catalog, items) for technology in self.by_id.values()}

    def identify(
        self, watches: Sequence[frozenset[str]], diagnoses: Sequence[str] | None, urgency: Urgency | None
    ) -> list[tuple[Identified, ...]]:
        """For each procedure, given by the codes it is watched under, the technologies that it is, in the pack's order.

        `diagnoses` and `urgency` None mean a look-up, where every condition counts as met.
        """
        touched = {t.id for watch in watches for code in watch for t in self._by_code.get(code, ())}
        if not touched:
            return [()] * len(watches)
        found: list[list[Identified]] = [[] for _ in watches]
        whole = frozenset().union(*watches)
        for technology in map(self.by_id.__getitem__, sorted(touched, key=self._place.__getitem__)):
            certain_at = _certainty(self._ways[technology.id], watches, whole, diagnoses, urgency)
            for index, certain in certain_at.items():
                found[index].append(Identified(technology, certain))
        return [tuple(identified) for identified in found]


def looked_for(technologies: Iterable[Technology]) -> frozenset[str]:
    """The codes by which any of the technologies is identified, alone or with others."""
    ways = [w for technology in technologies for way in technology.identify for w in _ways(way)]
    return frozenset(code for way in ways for code in way.codes.union(*way.all_of))


def _certainty(
    ways: Iterable[Identify],
    watches: Sequence[frozenset[str]],
    whole: frozenset[str],
    diagnoses: Sequence[str] | None,
    urgency: Urgency | None,
) -> dict[int, bool]:
    """The procedures that some way identifies, and whether for certain."""
    found: dict[int, bool] = {}
    for way in ways:
        if way.urgency and urgency is not None and urgency not in way.urgency:
            continue
        diagnosed = _diagnosed(way, diagnoses)
        if diagnosed is False or not _codes_hold(way, whole):
            continue
        wanted = way.codes.union(*way.all_of)
        for index, watch in enumerate(watches):
            if not watch.isdisjoint(wanted):
                found[index] = found.get(index, False) or diagnosed is True
    return found


def _codes_hold(way: Identify, whole: frozenset[str]) -> bool:
    if way.codes and way.codes.isdisjoint(whole):
        return False
    return all(not whole.isdisjoint(wanted) for wanted in way.all_of)


def _diagnosed(way: Identify, diagnoses: Sequence[str] | None) -> bool | None:
    """Whether the condition on diagnoses holds; None where the order carries none to tell by."""
    if not way.with_diagnoses or diagnoses is None:
        return True
    if not diagnoses:
        return None
    return any(diagnosis_matches(d, listed) for d in diagnoses for listed in way.with_diagnoses)


def _ways(way: Identify) -> Iterable[Identify]:
    """A way to identify, and for each combination among its codes the same with all its parts as procedures of their own."""
    yield way
    for code in way.codes:
        parts = parts_of(code)
        if parts:
            yield Identify(frozenset(), (*way.all_of, *(frozenset({part}) for part in parts)), way.with_diagnoses, way.urgency)


class _Items:
    """Which items the entries of a code belong to, and which codes an item's entries have."""

    def __init__(self, catalog: Catalog) -> None:
        self.of_code: dict[str, set[str]] = defaultdict(set)
        self.codes: dict[str, set[str]] = defaultdict(set)
        for entry in catalog.entries:
            if entry.entry.item:
                self.of_code[entry.code].add(entry.entry.item)
                self.codes[entry.entry.item].add(entry.code)


def _counted(technology: Technology, catalog: Catalog, known: _Items) -> frozenset[str]:
    """The codes that alone identify a technology, the local codes of these, and the items all of whose entries have such a code."""
    codes = frozenset().union(*(way.codes for way in technology.identify if not way.with_diagnoses and not way.all_of))
    codes |= {own for code in codes for own in catalog.locals_of.get(code, ())}
    items = {item for code in codes for item in known.of_code.get(code, ()) if known.codes[item] <= codes}
    return frozenset({scope_key(ScopeType.CODE, code) for code in codes} | {scope_key(ScopeType.ITEM, item) for item in items})


def _by_code(technologies: Iterable[Technology], ways: Mapping[str, Iterable[Identify]]) -> dict[str, tuple[Technology, ...]]:
    found: dict[str, list[Technology]] = defaultdict(list)
    for technology in technologies:
        codes = frozenset().union(*(way.codes.union(*way.all_of) for way in ways[technology.id]))
        for code in codes:
            found[code].append(technology)
    return {code: tuple(held) for code, held in found.items()}


RAISED_LEVEL = 4
"""The level at which a restricted technology is managed (SGM-2022 art. 20)."""


def raises_level(identified: Iterable[Identified]) -> bool:
    """Whether a technology raises the procedure to level 4: a restricted one does, also where a missing diagnosis leaves it open."""
    return any(i.restricted for i in identified)


__all__ = ["RAISED_LEVEL", "Identified", "Technologies", "raises_level"]

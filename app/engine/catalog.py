"""The graded catalog, compiled for look-up: which entries an order's procedure means, and which grants cover an entry.

Built once per version of a hospital's catalog; then a procedure resolves in a few dict look-ups whatever the size of the catalog.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from sys import intern
from typing import NamedTuple

from msgspec.structs import replace

from app.engine.codes import normalize_name, normalize_procedure, normalize_text, parts_of
from app.engine.model import Entry, Hospital, Procedure, ScopeType


def scope_key(scope_type: ScopeType | str, scope: str | int) -> str:
    """The key under which grants of that scope are kept, such as `item:WKJDXX3.2`; one text in memory for all who hold the scope."""
    return intern(f"{scope_type}:{scope}")


class Cover(NamedTuple):
    """A scope whose grants cover an entry. `departments`: None where a grant for any department will do, otherwise the departments in which
    something that was granted directly leads to the entry (by alias or `includes`)."""

    key: str
    departments: frozenset[str] | None


class CatalogEntry:
    """One catalog entry, compiled. `covers` are its itemized scopes, `level_covers` the level scopes. Of the `covers`, `keys` are those that
    a grant for any department will do for, `bound_covers` the others."""

    __slots__ = (
        "bound_covers",
        "code",
        "covers",
        "departments",
        "entry",
        "flags",
        "grade",
        "keys",
        "level",
        "level_covers",
        "name_key",
        "watch",
    )

    def __init__(self, entry: Entry, covers: tuple[Cover, ...], watch: frozenset[str]) -> None:
        self.entry = entry
        self.code = entry.code
        self.level = entry.level
        self.departments = frozenset(entry.departments)
        self.flags = entry.flags
        self.grade = _grade_key(entry.hospital_grade)
        self.name_key = normalize_name(entry.name)
        self.covers = covers
        self.keys = tuple([cover.key for cover in covers if cover.departments is None])
        self.bound_covers = tuple([cover for cover in covers if cover.departments is not None])
        self.level_covers = tuple(scope_key(ScopeType.LEVEL, level) for level in range(entry.level, 5))
        self.watch = watch

    def lower_than(self, other: CatalogEntry) -> bool:
        """Whether this entry is of a lower level, or of the same level and a lower hospital grade."""
        if self.level != other.level:
            return self.level < other.level
        return bool(self.grade and other.grade) and self.grade < other.grade


_UNWATCHED: frozenset[str] = frozenset()
"""One object for all procedures that no technology looks for."""

_OTHER = ""
"""Stands for a department that no entry names."""


class CodeRow:
    """All entries of one code, and which of them remain for a department."""

    __slots__ = ("by_department", "code", "entries", "generic", "watch")

    def __init__(self, code: str, entries: tuple[CatalogEntry, ...], watch: frozenset[str]) -> None:
        self.code = code
        self.entries = entries
        self.watch = watch
        self.generic = tuple(e for e in entries if not e.departments)
        names = {department for e in entries for department in e.departments}
        self.by_department = {name: tuple(e for e in entries if not e.departments or name in e.departments) for name in names}

    def remaining(self, department: str | None) -> tuple[CatalogEntry, ...]:
        """The entries that remain for a department; without one (a look-up) every entry does."""
        return self.entries if department is None else self.by_department.get(department, self.generic)

    def resolved(self, department: str | None) -> Resolved:
        """What the code means for a department when nothing narrows it and the patient is no child."""
        remaining = self.remaining(department)
        pool = remaining or self.entries
        return Resolved(self.code, remaining, pool, self.entries, self.watch.union(*(e.watch for e in pool)) or _UNWATCHED, known=True)


class Resolved:
    """What one procedure of an order resolves to.

    `entries` remain and need a privilege each. `pool` are those whose level, flags and stops count: the same, or, where none is left, those
    that dropped out. `level` is the pool's highest printed level (None for an unknown code), `flags` are all its flags. `watch` are the codes
    that may identify technologies; most procedures have none. `passed_over` names selectors that no entry has. `entry` stands for the
    procedure: the strictest that remains; `printed` are its name, hospital grade, item and code as an answer shows them.
    """

    __slots__ = ("code", "entries", "entry", "flags", "known", "level", "passed_over", "pool", "printed", "siblings", "watch")

    def __init__(
        self,
        code: str,
        entries: tuple[CatalogEntry, ...],
        pool: tuple[CatalogEntry, ...],
        siblings: tuple[CatalogEntry, ...],
        watch: frozenset[str],
        known: bool,
        passed_over: tuple[str, ...] = (),
    ) -> None:
        self.code = code
        self.entries = entries
        self.pool = pool
        self.siblings = siblings
        self.watch = watch
        self.known = known
        self.passed_over = passed_over
        self.level: int | None
        self.flags: frozenset[str]
        if len(pool) == 1:
            self.level, self.flags = pool[0].level, pool[0].flags
        else:
            self.level = max((e.level for e in pool), default=None)
            self.flags = frozenset().union(*(e.flags for e in pool))
        self.entry: CatalogEntry | None = max(entries, key=lambda e: (e.level, e.grade), default=None)
        self.printed: tuple[str | None, str | None, str | None, str | None] = (None, None, None, None)
        if self.entry is not None:
            shown = self.entry.entry
            self.printed = (shown.name or None, intern(shown.hospital_grade) or None, intern(shown.item) or None, shown.code or None)


class Catalog:
    """A hospital's catalog, compiled. `looked_for`: the codes by which technologies are identified; procedures are watched for no others."""

    def __init__(self, hospital: Hospital, looked_for: frozenset[str]) -> None:
        self._looked_for = looked_for
        self.aliases = dict(hospital.aliases)
        self.locals_of: dict[str, tuple[str, ...]] = _inverted(self.aliases)
        self.paediatric = hospital.paediatric
        self._departments = dict(hospital.department_aliases)
        by_code: dict[str, list[int]] = defaultdict(list)
        by_item: dict[str, list[int]] = defaultdict(list)
        for index, entry in enumerate(hospital.entries):
            by_code[entry.code].append(index)
            if entry.item:
                by_item[entry.item].append(index)
        covers = _Coverage(hospital.entries, by_code, by_item, self.aliases, self.locals_of).covers()
        compiled = [CatalogEntry(e, covers[i], self._watch((e.code,))) for i, e in enumerate(hospital.entries)]
        by_code = {code: _distinct(hospital.entries, indexes) for code, indexes in by_code.items()}
        self.entries: tuple[CatalogEntry, ...] = tuple(compiled)
        known = {*by_code, *(n for n, owns in self.locals_of.items() if any(own in by_code for own in owns))}
        self.rows: dict[str, CodeRow] = {code: self._row(code, by_code, compiled) for code in known}
        self._ready: dict[str | None, dict[str, Resolved]] = _ready(self.rows)
        self.combinations = tuple((frozenset(parts_of(code)), code) for code in by_code if "+" in code)
        parts = {part for combined, _ in self.combinations for part in combined}
        self.parts_and_aliases = frozenset(
            parts | {self.national(p) for p in parts} | {own for p in parts for own in self.locals_of.get(p, ())}
        )
        for name in {d for e in hospital.entries for d in e.departments}:
            self._departments.setdefault(name, name)

    def department(self, name: str) -> str:
        """The hospital's own name of a department."""
        known = self._departments.get(name)
        if known is not None:
            return known
        tidy = normalize_text(name)
        return self._departments.get(tidy, tidy)

    def canonical(self, code: str) -> str:
        """The canonical form of a procedure code as sent.

        Raises:
            MalformedCode: it cannot be a code.
        """
        # A code that the catalog has is canonical, and most are sent so.
        return code if code in self._ready[_OTHER] else normalize_procedure(code)

    def national(self, code: str) -> str:
        """The national code that a code stands for: itself where no alias says otherwise."""
        return self.aliases.get(code, code)

    def ready(self, code: str, department: str | None) -> Resolved | None:
        """What a canonical code means for a department when nothing narrows it and the patient is no child; None for an unknown code."""
        named = self._ready.get(department)
        found = named.get(code) if named is not None else None
        return found if found is not None else self._ready[_OTHER].get(code)

    def resolve_as_sent(self, procedure: Procedure, department: str | None, child: bool) -> Resolved:
        """The same as `resolve`, by the procedure's code in any spelling.

        Raises:
            MalformedCode: it cannot be a code.
        """
        named = self._ready.get(department)
        ready = named.get(procedure.code) if named is not None else None
        if ready is None or procedure.service or procedure.item or procedure.name or child:
            return self.resolve(self.canonical(procedure.code), procedure, department, child)
        return ready

    def resolve(self, code: str, procedure: Procedure, department: str | None, child: bool) -> Resolved:
        """The entries that a canonical code means in that department, narrowed by service, item and name."""
        ready = self.ready(code, department)
        if ready is None:
            return self._unknown(code, department, child)
        if not (procedure.service or procedure.item or procedure.name or child):
            return ready
        row, remaining = self.rows[code], ready.entries
        if len(remaining) == 1 and not child and _agrees(remaining[0], procedure):
            return ready
        kept, passed_over = _narrow(remaining, procedure)
        if child:
            kept += _narrow(self._paediatric(row, remaining), procedure)[0]
        if not kept or (kept is remaining and not passed_over):
            return ready
        return Resolved(code, kept, kept, row.entries, self._watch_of(row.watch, kept), True, passed_over)

    def combination_rows(self, codes: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """For each of an order's codes that is a part of combinations held in full: the combinations that it is judged as.

        One that lies within another such one does not count.
        """
        held = [(parts, code) for parts, code in self.combinations if all(any(self._same(part, c) for c in codes) for part in parts)]
        widest = [(parts, code) for parts, code in held if not any(parts < other for other, _ in held)]
        return {c: found for c in codes if (found := tuple(code for parts, code in widest if any(self._same(p, c) for p in parts)))}

    def resolve_as(self, combinations: Iterable[str], code: str, procedure: Procedure, department: str | None, child: bool) -> Resolved:
        """A part of combinations that the order holds in full: judged as those. Its own code still identifies technologies, and the stops,
        flags and level of its own entries still count: adding a procedure never lifts what bars one."""
        found = [self.resolve(combination, procedure, department, child) for combination in combinations]
        own = self.rows.get(code)
        entries = tuple(dict.fromkeys(e for r in found for e in r.entries))
        pool = tuple(
            dict.fromkeys(
                (*(e for r in found for e in r.pool), *(self.resolve(code, procedure, department, child).pool if own is not None else ()))
            )
        )
        watch = self._watch_of(self._watch((code,)).union(*(r.watch for r in found)), pool)
        passed_over = tuple(dict.fromkeys(p for r in found for p in r.passed_over))
        return Resolved(code, entries, pool, tuple(dict.fromkeys(e for r in found for e in r.siblings)), watch, True, passed_over)

    def _paediatric(self, row: CodeRow, remaining: tuple[CatalogEntry, ...]) -> tuple[CatalogEntry, ...]:
        """The paediatric entries of a code that count for a child beside those that remain for the department."""
        wards = self.paediatric.departments if self.paediatric is not None else frozenset()
        return tuple(e for e in row.entries if e not in remaining and not e.departments.isdisjoint(wards))

    def _unknown(self, code: str, department: str | None, child: bool) -> Resolved:
        """An unknown code; of an unknown combination the parts' stops, flags and levels still count."""
        pool: tuple[CatalogEntry, ...] = ()
        watch = self._watch((code,))
        for part in parts_of(code):
            row = self.rows.get(part)
            if row is not None:
                remaining = row.remaining(department)
                pool += (remaining + self._paediatric(row, remaining)) if child and remaining else remaining or row.entries
                watch |= row.watch
        return Resolved(code, (), pool, (), self._watch_of(watch, pool), known=False)

    def _same(self, part: str, code: str) -> bool:
        return part == code or self.aliases.get(part) == code or self.aliases.get(code) == part

    def _watch(self, codes: Iterable[str]) -> frozenset[str]:
        """The codes that technologies are identified by, among these: each code, its parts, the national codes of all of these and their
        parts."""
        plain = {piece for code in codes for piece in (code, *parts_of(code))}
        national = {self.national(piece) for piece in plain}
        return self._looked_for.intersection(plain | national | {part for code in national for part in parts_of(code)}) or _UNWATCHED

    @staticmethod
    def _watch_of(watch: frozenset[str], entries: Iterable[CatalogEntry]) -> frozenset[str]:
        return watch.union(*(e.watch for e in entries)) or _UNWATCHED

    def _row(self, code: str, by_code: Mapping[str, list[int]], compiled: Sequence[CatalogEntry]) -> CodeRow:
        codes = (code, *self.locals_of.get(code, ()))
        return CodeRow(code, tuple(compiled[i] for c in codes for i in by_code.get(c, ())), self._watch((code,)))


class _Coverage:
    """Which scopes cover which entry. A grant of a code or an item covers its own entries; by alias and `includes` (transitive) it covers
    others of no higher level than the one that was granted."""

    def __init__(
        self,
        entries: Sequence[Entry],
        by_code: Mapping[str, list[int]],
        by_item: Mapping[str, list[int]],
        aliases: Mapping[str, str],
        locals_of: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.entries = entries
        self.by_code = by_code
        self.by_item = by_item
        self.aliases = aliases
        self.locals_of = locals_of

    def covers(self) -> list[tuple[Cover, ...]]:
        found: list[dict[str, frozenset[str] | None]] = [{} for _ in self.entries]
        for item, owned in self.by_item.items():
            self._spread(found, scope_key(ScopeType.ITEM, item), owned, ())
        for code in {*self.by_code, *self.aliases, *self.locals_of}:
            owned = self.by_code.get(code, [])
            related = [i for other in self._related(code) for i in self.by_code.get(other, ())]
            if not owned:
                # A code without entries of its own means those that it stands for.
                owned, related = related, []
            self._spread(found, scope_key(ScopeType.CODE, code), owned, related)
        return [tuple(Cover(key, departments) for key, departments in covers.items()) for covers in found]

    def _related(self, code: str) -> tuple[str, ...]:
        national = self.aliases.get(code)
        return (*((national,) if national else ()), *self.locals_of.get(code, ()))

    def _spread(self, found: list[dict[str, frozenset[str] | None]], key: str, owned: Iterable[int], related: Iterable[int]) -> None:
        reached: dict[int, set[int]] = defaultdict(set)
        for start in owned:
            level = self.entries[start].level
            for index in self._closure(start, related):
                if index == start or self.entries[index].level <= level:
                    reached[index].add(start)
        for index, starts in reached.items():
            departments = [frozenset(self.entries[s].departments) for s in starts]
            unbound = index in starts or not all(departments)
            found[index][key] = None if unbound else frozenset().union(*departments)

    def _closure(self, start: int, related: Iterable[int]) -> set[int]:
        """What a grant of `start` leads to, whatever its level."""
        seen = {start, *related}
        queue = list(seen)
        while queue:
            for token in self.entries[queue.pop()].includes:
                codes = (token, *self.locals_of.get(token, ()))
                for index in (*self.by_item.get(token, ()), *(i for c in codes for i in self.by_code.get(c, ()))):
                    if index not in seen:
                        seen.add(index)
                        queue.append(index)
        return seen


def _ready(rows: Mapping[str, CodeRow]) -> dict[str | None, dict[str, Resolved]]:
    """What each code means, by department and then by code: for those that its entries name, for any other, and for None.

    Not by code and then by department: that would be another small dict for each code, which is seldom in the processor's caches.
    """
    found: dict[str | None, dict[str, Resolved]] = defaultdict(dict)
    for code, row in rows.items():
        for department in (None, _OTHER, *row.by_department):
            found[department][code] = row.resolved(department)
    return dict(found)


def _narrow(entries: tuple[CatalogEntry, ...], procedure: Procedure) -> tuple[tuple[CatalogEntry, ...], tuple[str, ...]]:
    """The entries that service, item and name agree on, and the selectors that no entry has. Selectors that point to different entries
    narrow nothing."""
    passed_over: list[str] = []
    kept = entries
    for name, matching in _matching(entries, procedure):
        if not matching:
            passed_over.append(name)
        elif len(matching) < len(entries):
            kept = tuple(e for e in kept if e in matching)
    return kept or entries, tuple(passed_over)


def _agrees(entry: CatalogEntry, procedure: Procedure) -> bool:
    """Whether every selector that was sent is the entry's."""
    return (
        (not procedure.service or entry.entry.service == procedure.service)
        and (not procedure.item or entry.entry.item == procedure.item)
        and (not procedure.name or entry.name_key == normalize_name(procedure.name))
    )


def _matching(entries: tuple[CatalogEntry, ...], procedure: Procedure) -> Iterable[tuple[str, tuple[CatalogEntry, ...]]]:
    if procedure.service:
        yield "service", tuple(e for e in entries if e.entry.service == procedure.service)
    if procedure.item:
        yield "item", tuple(e for e in entries if e.entry.item == procedure.item)
    if procedure.name:
        name_key = normalize_name(procedure.name)
        yield "name", tuple(e for e in entries if e.name_key == name_key)


def _grade_key(grade: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(p), "") if p.isdigit() else (0, p) for p in grade.split(".")) if grade else ()


def _distinct(entries: Sequence[Entry], indexes: Iterable[int]) -> list[int]:
    """The entries of one code without rows that the catalog prints twice: nothing tells those apart, so they are no ambiguity."""
    found: dict[Entry, int] = {}
    for index in indexes:
        found.setdefault(replace(entries[index], source="", category=""), index)
    return list(found.values())


def _inverted(aliases: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    locals_of: dict[str, list[str]] = defaultdict(list)
    for local, national in aliases.items():
        locals_of[national].append(local)
    return {national: tuple(owns) for national, owns in locals_of.items()}


__all__ = ["Catalog", "CatalogEntry", "CodeRow", "Cover", "Resolved", "scope_key"]

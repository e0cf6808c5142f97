"""What the rows of a pack may name: people, codes, items, technologies. What is not among them is a slip, and the nearest is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from app.engine.model import Hospital, ScopeType
from app.packs.texts import Nearest, hint


class Known:
    """One list of words. Where the table that they come from could not be read, it is not `complete` and every word passes: one unreadable
    catalog must not make 400,000 grants look wrong."""

    def __init__(self, words: Iterable[str] = (), *, complete: bool = True) -> None:
        self.words = set(words)
        self.complete = complete
        self._nearest: Nearest | None = None

    def __contains__(self, word: str) -> bool:
        return word in self.words or not self.complete

    def hint(self, word: str) -> tuple[str, str]:
        """The end of a message that suggests the nearest word. The list must be final by then."""
        if self._nearest is None:
            self._nearest = Nearest(sorted(self.words))
        return hint(self._nearest.to(word))


class Already(NamedTuple):
    """What a hospital has before an import: its rows may name that too, whether or not the file brings it. `hospital`'s own words, and what
    rows that are there name beside them (a code that has left the catalog and is still granted)."""

    staff: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    items: frozenset[str] = frozenset()
    technologies: frozenset[str] = frozenset()
    grantable: frozenset[str] = frozenset()


class References:
    """What grants, credentials and volumes may name. `grantable`: the technologies that can be granted as such."""

    def __init__(self, staff: Known, codes: Known, items: Known, technologies: Known, grantable: frozenset[str]) -> None:
        self.staff = staff
        self.technologies = technologies
        self.grantable = grantable
        self._by_scope: Mapping[ScopeType, tuple[Known, str, str]] = {
            ScopeType.CODE: (codes, "目录和编码对照中没有编码", "Neither the catalog nor the aliases have the code"),
            ScopeType.ITEM: (items, "目录中没有授权项目", "The catalog has no item"),
            ScopeType.TECHNOLOGY: (technologies, "没有技术", "There is no technology"),
        }

    @classmethod
    def of(cls, hospital: Hospital, staff: Iterable[str]) -> References:
        """What may be named in a hospital that is already there, for importing a single table into it."""
        return cls(
            Known(staff),
            Known(codes_of(hospital)),
            Known(entry.item for entry in hospital.entries if entry.item),
            Known(technology.id for technology in hospital.technologies),
            frozenset(technology.id for technology in hospital.technologies if technology.grantable),
        )

    def unknown_scope(self, scope_type: ScopeType, scope: str) -> tuple[str, str] | None:
        """What is wrong with a scope that names nothing, in Chinese and English; None where it is known, or a level or class."""
        if scope_type not in self._by_scope:
            return None
        known, zh, en = self._by_scope[scope_type]
        if scope in known:
            return None
        hint_zh, hint_en = known.hint(scope)
        return f"{zh}“{scope}”。{hint_zh}", f'{en} "{scope}".{hint_en}'


def codes_of(hospital: Hospital) -> set[str]:
    """Every code that a grant may name: the catalog's, and both sides of an alias, since a grant of either covers the other."""
    return {*(entry.code for entry in hospital.entries), *hospital.aliases, *hospital.aliases.values()}

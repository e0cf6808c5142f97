"""What the rows of a pack may name: people, codes, items, technologies. What is not among them is a slip, and the nearest is said."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import NamedTuple

from app.engine.model import Hospital, ScopeType
from app.packs.texts import Nearest, shown


class Known:
    """One list of words; `zh` and `en` begin the message about a word that is not in it. Where the table that the words come from could not
    be read, the list is not `complete` and every word passes: one unreadable catalog must not make 400,000 grants look wrong."""

    def __init__(self, zh: str, en: str, words: set[str] | None = None, *, suggests: bool = True) -> None:
        self.words: set[str] = set() if words is None else words
        self.complete = True
        self._texts = zh, en
        self._nearest = Nearest(self.words if suggests else ())

    def complaint(self, word: str) -> tuple[str, str] | None:
        """What is wrong with a word that is not among them, in Chinese and English."""
        if word in self.words or not self.complete:
            return None
        (zh, en), (hint_zh, hint_en) = self._texts, self._nearest.hint(word)
        return f"{zh}“{shown(word)}”。{hint_zh}", f'{en} "{shown(word)}".{hint_en}'


class Already(NamedTuple):
    """What a hospital has before an import: its rows may name that too, whether or not the file brings it. The hospital's own words, and what
    rows that are there name beside them (a code that has left the catalog and is still granted). `names`: of its people, by staff number."""

    names: Mapping[str, str] = {}
    codes: frozenset[str] = frozenset()
    items: frozenset[str] = frozenset()
    technologies: frozenset[str] = frozenset()
    grantable: frozenset[str] = frozenset()
    time_zone: tzinfo = UTC

    @classmethod
    def of(cls, hospital: Hospital, names: Mapping[str, str]) -> Already:
        """The hospital's own words alone."""
        return cls(
            names,
            # Both sides of an alias may be named: a grant of either covers the other.
            frozenset([*(entry.code for entry in hospital.entries), *hospital.aliases, *hospital.aliases.values()]),
            frozenset(entry.item for entry in hospital.entries if entry.item),
            frozenset(technology.id for technology in hospital.technologies),
            frozenset(technology.id for technology in hospital.technologies if technology.grantable),
            hospital.time_zone,
        )


NOTHING = Already()


class References:
    """What has been read of a pack and may be named by what is read next. `names`: of people, by staff number. `grantable`: the
    technologies that can be granted as such. `time_zone`: of the hospital, whose clock the rows are written by. `by_scope`: what a scope names; a level or class names nothing."""

    def __init__(self, already: Already = NOTHING) -> None:
        # A staff number that is like another one is somebody else's.
        self.staff = Known("人员表中没有工号", "The register has no staff number", set(already.names), suggests=False)
        self.names = dict(already.names)
        self.codes = Known("目录和编码对照中没有编码", "Neither the catalog nor the aliases have the code", set(already.codes))
        self.items = Known("目录中没有授权项目", "The catalog has no item", set(already.items))
        self.technologies = Known("没有技术", "There is no technology", set(already.technologies))
        self.grantable = set(already.grantable)
        self.time_zone = already.time_zone
        self.by_scope = {ScopeType.CODE: self.codes, ScopeType.ITEM: self.items, ScopeType.TECHNOLOGY: self.technologies}

    @classmethod
    def of(cls, hospital: Hospital, names: Mapping[str, str]) -> References:
        """What may be named in a hospital that is already there, for importing a single table into it. `names`: of its people, by staff
        number."""
        return cls(Already.of(hospital, names))

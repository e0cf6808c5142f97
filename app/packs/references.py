"""What the rows of a pack may name: people, codes, items, technologies. What is not among them is a slip, and the nearest is said."""

from __future__ import annotations

from collections.abc import Mapping

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


class References:
    """What has been read of a pack and may be named by what is read next. `names`: of people, by staff number. `grantable`: the
    technologies that can be granted as such. `by_scope`: what a scope names; a level or class names nothing."""

    def __init__(self) -> None:
        # A staff number that is like another one is somebody else's.
        self.staff = Known("人员表中没有工号", "The register has no staff number", suggests=False)
        self.names: dict[str, str] = {}
        self.codes = Known("目录和编码对照中没有编码", "Neither the catalog nor the aliases have the code")
        self.items = Known("目录中没有授权项目", "The catalog has no item")
        self.technologies = Known("没有技术", "There is no technology")
        self.grantable: set[str] = set()
        self.by_scope = {ScopeType.CODE: self.codes, ScopeType.ITEM: self.items, ScopeType.TECHNOLOGY: self.technologies}

    @classmethod
    def of(cls, hospital: Hospital, names: Mapping[str, str]) -> References:
        """What may be named in a hospital that is already there, for importing a single table into it. `names`: of its people, by staff
        number."""
        references = cls()
        references.staff.words.update(names)
        references.names.update(names)
        references.codes.words.update(entry.code for entry in hospital.entries)
        references.codes.words.update(*hospital.aliases.items())
        references.items.words.update(entry.item for entry in hospital.entries if entry.item)
        references.technologies.words.update(technology.id for technology in hospital.technologies)
        references.grantable.update(technology.id for technology in hospital.technologies if technology.grantable)
        return references

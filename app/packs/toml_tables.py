"""Reading a TOML file so that nothing in it is overlooked: each key is asked for by type, and what nobody asked for is a problem."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from app.engine.codes import normalize_text
from app.packs.problems import Problems
from app.packs.texts import Nearest, encoding_of, hint, shown

E = TypeVar("E", bound=StrEnum)

_TYPE_NAMES: Mapping[type, tuple[str, str]] = {
    str: ("加引号的文字", "a text in quotes"),
    int: ("整数", "a whole number"),
    bool: ("true 或 false", "true or false"),
    date: ("不加引号的日期，如 2026-11-22", "a date without quotes, like 2026-11-22"),
    list: ("方括号中的列表", "a list in square brackets"),
    dict: ("表", "a table"),
}


def parse_toml(file: str, data: bytes, problems: Problems) -> TomlTable | None:
    """The file's top table; None, with a problem, where it is no TOML."""
    encoding = encoding_of(file, data, problems)
    if encoding is None:
        return None
    try:
        return TomlTable(tomllib.loads(data.decode(encoding)), file, "", problems)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        problems.add(file, "不是有效的 TOML，请检查引号和括号。", f"This is no valid TOML: {error}.", row=int(line[1]) if line else None)
        return None


class TomlTable:
    """One table of a TOML file. Every getter gives None where the key is absent, and None with a problem where it holds something else.

    `place` is how messages name the table; `file` and `problems` are where they go.
    """

    def __init__(self, values: dict[str, Any], file: str, place: str, problems: Problems) -> None:
        self.file = file
        self.place = place
        self.problems = problems
        self._values = values
        self._asked: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def problem(self, key: str, zh: str, en: str) -> None:
        self.problems.add(self.file, zh, en, column=self._path(key))

    def text(self, key: str, *, required: bool = False) -> str | None:
        """A text without needless blanks; an empty one counts as absent."""
        value = self._typed(key, str)
        text = None if value is None else normalize_text(value)
        # A value of the wrong type has been complained of already.
        if required and not text and (value is not None or key not in self._values):
            self.problem(key, "必填，不能为空。", "Required: it must not be empty.")
        return text or None

    def raw_text(self, key: str) -> str | None:
        """A text to the letter. It may be a secret, so messages never quote it."""
        self._asked.add(key)
        value = self._values.get(key)
        if value is not None and not isinstance(value, str):
            self.problem(key, "应为加引号的文字。", "It should be a text in quotes.")
            return None
        return value

    def integer(self, key: str, lowest: int, highest: int) -> int | None:
        value: int | None = self._typed(key, int)
        if value is not None and not lowest <= value <= highest:
            self.problem(key, f"应为 {lowest} 至 {highest} 的整数。", f"It should be a whole number from {lowest} to {highest}.")
            return None
        return value

    def flag(self, key: str) -> bool | None:
        value: bool | None = self._typed(key, bool)
        return value

    def day(self, key: str) -> date | None:
        value: date | None = self._typed(key, date)
        return value

    def texts(self, key: str, *, may_be_empty: bool = True) -> tuple[str, ...] | None:
        """A list of texts, none of them empty, each once."""
        values = self._items(key, str)
        if values == [] and not may_be_empty:
            self.problem(key, "列表不能为空。", "The list must not be empty.")
        return None if values is None else tuple(dict.fromkeys(normalize_text(value) for value in values))

    def member(self, key: str, members: type[E]) -> E | None:
        """One word of a closed list."""
        word = self.text(key)
        return None if word is None else self._member(key, word, members)

    def members(self, key: str, members: type[E]) -> tuple[E, ...] | None:
        """A list of words of a closed list."""
        words = self.texts(key)
        if words is None:
            return None
        return tuple(one for word in words if (one := self._member(key, word, members)) is not None)

    def integers(self, key: str) -> tuple[int, ...] | None:
        values = self._items(key, int)
        return None if values is None else tuple(values)

    def days(self, key: str) -> tuple[date, ...] | None:
        values = self._items(key, date)
        return None if values is None else tuple(values)

    def text_lists(self, key: str) -> tuple[tuple[str, ...], ...] | None:
        """A list of lists of texts, no list and no text empty."""
        outer = self._items(key, list)
        if outer is None:
            return None
        if not outer:
            self.problem(key, "列表不能为空。", "The list must not be empty.")
        inner = TomlTable(
            {f"{key}[{number}]": values for number, values in enumerate(outer, start=1)}, self.file, self.place, self.problems
        )
        return tuple(texts for name in inner if (texts := inner.texts(name, may_be_empty=False)) is not None)

    def table(self, key: str) -> TomlTable | None:
        value = self._typed(key, dict)
        return None if value is None else TomlTable(value, self.file, self._path(key), self.problems)

    def tables(self, key: str) -> list[TomlTable] | None:
        """A table, or a list of tables."""
        if not isinstance(self._values.get(key), list):
            one = self.table(key)
            return None if one is None else [one]
        values = self._items(key, dict)
        if values is None:
            return None
        return [TomlTable(value, self.file, f"{self._path(key)}[{number}]", self.problems) for number, value in enumerate(values, start=1)]

    def raw(self, key: str) -> Any:
        """Whatever stands there, unread."""
        return self._values.get(key)

    def __iter__(self) -> Iterator[str]:
        """The keys, in the file's order."""
        return iter(self._values)

    def holds_table(self, key: str) -> bool:
        return isinstance(self._values.get(key), dict)

    def note_unknown(self, documentation: Iterable[str] = (), *, suggest: Iterable[str] = ()) -> None:
        """Names every key that nobody asked for. `documentation`: keys for people only, which may hold anything; `suggest`: further keys
        that a misspelt one may have meant."""
        known = {*self._asked, *documentation}
        nearest = Nearest(sorted({*known, *suggest}))
        for key in self._values:
            if key not in known:
                zh, en = hint(nearest.to(key))
                self.problem(key, f"没有“{shown(key)}”这一项。{zh}", f'There is no key "{shown(key)}" here.{en}')

    def _member(self, key: str, word: str, members: type[E]) -> E | None:
        if word in {str(one) for one in members}:
            return members(word)
        choices = [str(one) for one in members]
        zh, en = hint(Nearest(choices).to(word))
        self.problem(
            key, f"“{shown(word)}”不在可选值中：{'、'.join(choices)}。{zh}", f'"{shown(word)}" is none of: {", ".join(choices)}.{en}'
        )
        return None

    def _path(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def _typed(self, key: str, wanted: type) -> Any:
        self._asked.add(key)
        value = self._values.get(key)
        if value is None or _is(value, wanted):
            return value
        self._wrong_type(key, wanted, value)
        return None

    def _items(self, key: str, wanted: type) -> list[Any] | None:
        values = self._typed(key, list)
        if values is None:
            return None
        wrong = [value for value in values if not _is(value, wanted) or value == ""]
        for value in wrong:
            self._wrong_type(key, wanted, value)
        return None if wrong else values

    def _wrong_type(self, key: str, wanted: type, value: object) -> None:
        zh, en = _TYPE_NAMES[wanted]
        self.problem(key, f"“{shown(value)}”应为{zh}。", f'"{shown(value)}" should be {en}.')


def _is(value: object, wanted: type) -> bool:
    """TOML's types exactly: true is no number, and an instant is no day."""
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted is date:
        return isinstance(value, date) and not isinstance(value, datetime)
    return isinstance(value, wanted)

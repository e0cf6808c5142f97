"""Reading a TOML file so that nothing in it is overlooked: each key is asked for by type, and what nobody asked for is a problem."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import Any, TypeVar

from app.engine.codes import normalize_text
from app.packs.problems import Problems
from app.packs.texts import Nearest, encoding_of, shown

T = TypeVar("T")
W = TypeVar("W", bound=str)

_SHOULD_BE: Mapping[type, tuple[str, str]] = {
    str: ("应为加引号的文字。", "should be a text in quotes."),
    int: ("应为整数。", "should be a whole number."),
    bool: ("应为 true 或 false。", "should be true or false."),
    date: ("应为不加引号的日期，如 2026-11-22。", "should be a date without quotes, like 2026-11-22."),
    list: ("应为方括号中的列表。", "should be a list in square brackets."),
    dict: ("应为表。", "should be a table."),
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
    """One table of a TOML file. Every getter gives None (a table: an empty one) where the key is absent, and a problem as well where it holds
    something else. At the end `note_unknown` names what no getter was called for.

    `place` is how messages name the table; `file` and `problems` are where they go.
    """

    def __init__(self, values: Mapping[str, Any], file: str, place: str, problems: Problems) -> None:
        self.file = file
        self.place = place
        self.problems = problems
        self._values = values
        self._asked: set[str] = set()
        self._inner: list[TomlTable] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        """The keys, in the file's order."""
        return iter(self._values)

    def problem(self, key: str, zh: str, en: str) -> None:
        self.problems.add(self.file, zh, en, column=self.path(key))

    def path(self, key: str) -> str:
        """How messages name a key of this table."""
        return f"{self.place}.{key}" if self.place else key

    def get(self, key: str, wanted: type[T], *, required: bool = False) -> T | None:
        """The value to the letter; `required`: there, and no empty text. It may be a secret, so messages never quote it."""
        self._asked.add(key)
        value = self._values.get(key)
        if required and (value is None or _is_blank(value)):
            self.problem(key, "必填，不能为空。", "Required: it must not be empty.")
            return None
        # Exactly that type: true is no number, and an instant is no day.
        if value is not None and type(value) is not wanted:
            zh, en = _SHOULD_BE[wanted]
            self.problem(key, zh, f"It {en}")
            return None
        return value

    def raw(self, key: str) -> Any:
        """Whatever stands there, unread."""
        return self._values.get(key)

    def holds_table(self, key: str) -> bool:
        return isinstance(self._values.get(key), dict)

    def items(self, key: str, wanted: type[T], *, filled: bool = False) -> tuple[T, ...] | None:
        """The values of a list, no text empty; `filled`: one at least."""
        values: list[T] | None = self.get(key, list)
        if values is None:
            return None
        if filled and not values:
            self.problem(key, "列表不能为空。", "The list must not be empty.")
        wrong = [value for value in values if type(value) is not wanted or _is_blank(value)]
        for value in wrong:
            zh, en = _SHOULD_BE[wanted]
            self.problem(key, f"“{shown(value)}”{zh}", f'"{shown(value)}" {en}')
        return None if wrong else tuple(values)

    def text(self, key: str, *, required: bool = False) -> str | None:
        """A text without needless blanks; an empty one counts as absent."""
        return normalize_text(self.get(key, str, required=required) or "") or None

    def texts(self, key: str, *, filled: bool = False) -> tuple[str, ...] | None:
        """A list of texts, each once."""
        values = self.items(key, str, filled=filled)
        return None if values is None else tuple(dict.fromkeys(map(normalize_text, values)))

    def text_lists(self, key: str) -> list[tuple[str, ...]]:
        """A list of lists of texts, none of them empty."""
        lists = self.items(key, list, filled=True) or ()
        inner = TomlTable(
            {f"{key}[{number}]": values for number, values in enumerate(lists, start=1)}, self.file, self.place, self.problems
        )
        return [inner.texts(name, filled=True) or () for name in inner]

    def word(self, key: str, allowed: Iterable[W]) -> W | None:
        """One word of a closed list."""
        word = self.text(key)
        return None if word is None else self._allowed(key, word, allowed)

    def words(self, key: str, allowed: Iterable[W]) -> list[W]:
        """A list of words of a closed list."""
        return [found for word in self.texts(key) or () if (found := self._allowed(key, word, allowed)) is not None]

    def integer(self, key: str, lowest: int, highest: int) -> int | None:
        value = self.get(key, int)
        if value is not None and not lowest <= value <= highest:
            self.problem(key, f"应为 {lowest} 至 {highest} 的整数。", f"It should be a whole number from {lowest} to {highest}.")
            return None
        return value

    def table(self, key: str) -> TomlTable:
        """A table; an empty one where there is none, to be asked for its defaults."""
        return self._table(key, self.get(key, dict) or {})

    def each(self, key: str, read: Callable[[TomlTable], T]) -> tuple[T, ...] | None:
        """What `read` makes of a table, or of each table of a list."""
        if isinstance(self._values.get(key), list):
            values = self.items(key, dict) or ()
            return tuple(read(self._table(f"{key}[{number}]", value)) for number, value in enumerate(values, start=1))
        return None if self.get(key, dict) is None else (read(self.table(key)),)

    def ignore(self, *keys: str) -> None:
        """These keys are for people, or complained of already; they may hold anything."""
        self._asked.update(keys)

    def note_unknown(self) -> None:
        """Names every key, of this table and those in it, that nobody asked for."""
        nearest = Nearest(self._asked)
        for key in self._values:
            if key not in self._asked:
                zh, en = nearest.hint(key)
                self.problem(key, f"没有“{shown(key)}”这一项。{zh}", f'There is no key "{shown(key)}" here.{en}')
        for table in self._inner:
            table.note_unknown()

    def _table(self, name: str, values: Mapping[str, Any]) -> TomlTable:
        table = TomlTable(values, self.file, self.path(name), self.problems)
        self._inner.append(table)
        return table

    def _allowed(self, key: str, word: str, allowed: Iterable[W]) -> W | None:
        choices = {str(choice): choice for choice in allowed}
        if word in choices:
            return choices[word]
        zh, en = Nearest(choices).hint(word)
        self.problem(
            key, f"“{shown(word)}”不在可选值中：{'、'.join(choices)}。{zh}", f'"{shown(word)}" is none of: {", ".join(choices)}.{en}'
        )
        return None


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not normalize_text(value)

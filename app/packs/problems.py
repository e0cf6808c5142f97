"""What is wrong with a pack, in words for the person who keeps it: Chinese first, English beside it.

PackError (an Exception)
└── carries every Problem that was found, so that a file is corrected once and not once per mistake
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

MAX_KEPT = 10_000
"""Problems kept of one pack; further ones are only counted. A hostile file could otherwise fill the memory with them."""

MAX_SHOWN = 50
"""Problems that `str()` of a `PackError` spells out."""


class Problem(msgspec.Struct, frozen=True):
    """One mistake and its place. `row` is counted as a spreadsheet shows it: the heading is row 1 (in a TOML file it is the line).
    `column` is the heading as it stands in the file, or the key in a TOML file; None where the mistake is not in one."""

    file: str
    row: int | None
    column: str | None
    message_zh: str
    message_en: str

    def __str__(self) -> str:
        row_zh, row_en = ("", "") if self.row is None else (f" 第{self.row}行", f", row {self.row}")
        column_zh, column_en = ("", "") if self.column is None else (f" “{self.column}”", f', "{self.column}"')
        return f"{self.file}{row_zh}{column_zh}：{self.message_zh} / {self.file}{row_en}{column_en}: {self.message_en}"


class PackError(Exception):
    """The pack cannot be taken. `problems` is in the order of files and rows; `not_kept` counts those beyond `MAX_KEPT`."""

    def __init__(self, problems: Iterable[Problem], not_kept: int = 0) -> None:
        self.problems = tuple(problems)
        self.not_kept = not_kept
        super().__init__(self.problems)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:MAX_SHOWN]]
        more = len(self.problems) - len(lines) + self.not_kept
        if more:
            lines.append(f"……另有 {more} 个问题 / and {more} more problems")
        return "\n".join(lines)


class CellError(Exception):
    """A cell does not hold what its column asks for. `texts` say so in Chinese and English; the reader of the row knows the place."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.texts = zh, en


class SheetError(Exception):
    """A table cannot be read, or not from this `row` on. `texts` say why in Chinese and English."""

    def __init__(self, zh: str, en: str, row: int | None = None) -> None:
        super().__init__(en)
        self.texts = zh, en
        self.row = row


class Problems:
    """Collects what is found while a pack is read. A problem refuses the pack, a warning is only shown."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.warnings: list[Problem] = []
        self.not_kept = 0

    @property
    def count(self) -> int:
        """Of problems so far: a reader compares it to learn whether a step added one."""
        return len(self.found) + self.not_kept

    def add(self, file: str, zh: str, en: str, *, row: int | None = None, column: str | None = None) -> None:
        if len(self.found) < MAX_KEPT:
            self.found.append(Problem(file, row, column, zh, en))
        else:
            self.not_kept += 1

    def warn(self, file: str, zh: str, en: str, *, row: int | None = None, column: str | None = None) -> None:
        if len(self.warnings) < MAX_KEPT:
            self.warnings.append(Problem(file, row, column, zh, en))

    def error(self) -> PackError:
        """All that was found, by file in the order in which the files were first complained of, then by row."""
        files = list(dict.fromkeys(problem.file for problem in self.found))
        ordered = sorted(self.found, key=lambda problem: (files.index(problem.file), problem.row or 0))
        return PackError(ordered, self.not_kept)

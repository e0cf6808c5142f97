"""What one cell holds. Every reader takes a cell that is not blank, as CSV (text) or XLSX (text, number, date, …) gives it, and gives the
value or raises `CellError`. Nothing is guessed: a code that a spreadsheet made a number of has lost its zeros, so it is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import TypeAlias, TypeVar

from app.engine.codes import MalformedCode, normalize_procedure, normalize_text
from app.engine.model import ScopeType
from app.packs.problems import CellError
from app.packs.texts import folded, shown
from app.packs.words import ENTRY_FLAGS, GRADE_NUMERALS

T = TypeVar("T")

NumberedCells: TypeAlias = tuple[int, Sequence[object]]
"""A row's number as the spreadsheet shows it, and the row's cells."""

MAX_TEXT_CHARS = 4_000
"""Longer than any name and any list of codes; a cell beyond it is a slip, such as a quote that was never closed."""

MAX_ID_CHARS = 64
"""What the store keeps of an id, and what an order may hold."""

EARLIEST_YEAR = 1900
"""Nobody concerned practised before; a year such as 0226 is a slip."""

MAX_EXACT_DIGITS = 15
"""A spreadsheet keeps 15 digits of a number and makes zeros of the rest."""

LATEST_YEAR = 2200
"""Of a moment; a year beyond it is a slip too, and in some zones the last of the calendar has no UTC."""

MAX_CASES = 100_000
"""Operations of one person in one year."""

CACHED_CELLS = 65_536
"""Distinct dates whose meaning is remembered while a table of 400,000 rows is read."""

_DATE_FORMS = (re.compile(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})"), re.compile(r"(\d{4})(年)(\d{1,2})月(\d{1,2})日"))
_MOMENT = re.compile(
    r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})[Tt ](\d{1,2}):(\d{2})(?::(\d{2}))?\s*([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?", re.ASCII
)
_LIST_SEPARATORS = re.compile(r"[;；、\n]")
_SPREADSHEET_ERRORS = frozenset({"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!"})
_SCIENTIFIC = re.compile(r"\d\.\d+E\+\d+")  # what a spreadsheet writes into a CSV for a long number
# What is left of a code when Excel took it for a number or a date and the sheet was then saved as CSV.
_MANGLED = re.compile(
    r"\d+(\.\d*)?([Ee][+-]?\d+)?|\d{1,4}[-/年]\d{1,2}([-/月]\d{1,4}日?)?(\s.*)?|\d{1,2}-[A-Za-z]{3}(-\d+)?|[A-Za-z]{3}-\d{2}"
)


def is_blank(cell: object) -> bool:
    """Whether a cell is empty or holds nothing but blanks."""
    return cell is None or cell == "" or (isinstance(cell, str) and not cell.strip())


def text(cell: object) -> str:
    """Words or an id, without needless blanks. A whole number is taken for the id that it shows."""
    if isinstance(cell, str):
        return _clean(cell)
    if isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) < 10**MAX_EXACT_DIGITS and cell == int(cell):
        return str(int(cell))
    raise _as_text(cell)


def identifier(cell: object) -> str:
    """An id, no longer than an order or a path can name it."""
    found = text(cell)
    if len(found) > MAX_ID_CHARS:
        raise CellError(
            f"过长（{len(found)} 字），最多 {MAX_ID_CHARS} 字。",
            f"{len(found)} characters are too many, at most {MAX_ID_CHARS} are allowed.",
        )
    return found


def text_only(cell: object) -> str:
    """A code that is not a procedure's: item, grade, service. A number is refused, because 4.10 would have become 4.1."""
    if not isinstance(cell, str):
        raise _as_text(cell)
    return _clean(cell)


def as_note(cell: object) -> str:
    """What people wrote beside a row, cut to a cell's length and without what no spreadsheet can hold; empty for a blank or a formula."""
    if cell is None or cell == "=":
        return ""
    written = cell.isoformat() if isinstance(cell, date | time) else str(cell)
    return normalize_text("".join(char if char.isprintable() else " " for char in written))[:MAX_TEXT_CHARS].strip()


def procedure(cell: object) -> str:
    """A procedure code in its canonical form."""
    written = text_only(cell)
    try:
        return normalize_procedure(written)
    except MalformedCode as error:
        if _MANGLED.fullmatch(written):
            raise _as_text(written) from error
        raise CellError(f"“{shown(written)}”不是手术编码（ICD-9-CM-3，如 35.9500x006）。", f"{shown(error)}.") from error


def day(cell: object) -> date:
    """A date: 2026-11-22, 2026/11/22, 2026年11月22日, or a date cell of a spreadsheet."""
    if isinstance(cell, datetime):
        if cell.time() != time():
            raise CellError(f"日期“{shown(cell)}”带有时刻，请只填日期。", f'"{shown(cell)}" has a time of day. Enter the date alone.')
        found = cell.date()
    elif isinstance(cell, date):
        found = cell
    elif isinstance(cell, str):
        found = _day(cell)
    else:
        raise _no_date(cell)
    if found.year < EARLIEST_YEAR:
        zh = f"“{shown(cell)}”早于 {EARLIEST_YEAR} 年，请核对年份。"
        raise CellError(zh, f'"{shown(cell)}" is before {EARLIEST_YEAR}. Check the year.')
    return found


def moment(cell: object) -> datetime:
    """Day and time of day: 2026-11-22 17:30, 2026/11/22 17:30, RFC 3339 with offset, or such a cell of a spreadsheet. Without offset where none is
    written: then it is by the hospital's clock."""
    if isinstance(cell, datetime):
        # A spreadsheet keeps a moment as a fraction of a day, which rarely is a whole second.
        found = (cell + timedelta(milliseconds=500)).replace(microsecond=0)
    elif isinstance(cell, str):
        found = _moment(cell)
    else:
        raise _no_moment(cell)
    if not EARLIEST_YEAR <= found.year <= LATEST_YEAR:
        zh = f"“{shown(cell)}”不在 {EARLIEST_YEAR} 至 {LATEST_YEAR} 年之间，请核对年份。"
        raise CellError(zh, f'"{shown(cell)}" is not between {EARLIEST_YEAR} and {LATEST_YEAR}. Check the year.')
    return found


def one_of(words: Mapping[T, tuple[str, ...]]) -> Callable[[object], T]:
    """A reader of a closed list: the member's own word (`str()` of it) or one of its Chinese ones."""
    meanings = {folded(word): member for member, chinese in words.items() for word in (str(member), *chinese)}
    allowed_zh = "、".join(f"{chinese[0]}（{member}）" for member, chinese in words.items())
    allowed_en = ", ".join(str(member) for member in words)

    def read(cell: object) -> T:
        meaning = meanings.get(folded(text(cell)))
        if meaning is None:
            raise CellError(f"“{shown(cell)}”不在可选值中：{allowed_zh}。", f'"{shown(cell)}" is none of: {allowed_en}.')
        return meaning

    return read


def grade(highest: int) -> Callable[[object], int]:
    """A reader of a level or grade from 1 to `highest`: 3, 三级, Ⅲ级, and ASA 3."""

    def read(cell: object) -> int:
        value = GRADE_NUMERALS.get(folded(text(cell)).removeprefix("asa").removesuffix("级"))
        if value is None or value > highest:
            raise CellError(f"“{shown(cell)}”应为 1 至 {highest} 级。", f'"{shown(cell)}" should be 1 to {highest}.')
        return value

    return read


def number(lowest: int, highest: int) -> Callable[[object], int]:
    """A reader of a whole number in a range."""

    def read(cell: object) -> int:
        digits = text(cell)
        # The length first: a text of half a thousand digits is not worth converting.
        if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_EXACT_DIGITS and lowest <= int(digits) <= highest):
            zh = f"“{shown(cell)}”应为 {lowest} 至 {highest} 的整数。"
            raise CellError(zh, f'"{shown(cell)}" should be a whole number from {lowest} to {highest}.')
        return int(digits)

    return read


def several(cell: object) -> tuple[str, ...]:
    """A list of words with `;`, `；` or `、` between them, each once. One without a word is refused: no department means any."""
    parts = _LIST_SEPARATORS.split(cell) if isinstance(cell, str) else [cell]
    words = tuple(dict.fromkeys(text(part) for part in parts if not is_blank(part)))
    if not words:
        raise CellError(f"“{shown(cell)}”中没有内容。", f'"{shown(cell)}" holds nothing.')
    return words


def single(cell: object) -> str:
    """A department, where only one may stand."""
    words = several(cell)
    if len(words) != 1:
        zh = f"“{shown(cell)}”：这里只能填一个，请分行填写。"
        raise CellError(zh, f'"{shown(cell)}": only one may stand here. Write a row for each.')
    return words[0]


def flags(cell: object) -> frozenset[str]:
    """What marks a catalog entry: major, key, stopped, bypass."""
    return frozenset(_flag(word) for word in several(cell))


def codes_or_items(cell: object) -> tuple[str, ...]:
    """Procedure codes, in canonical form, and authorization items: what cannot be a code."""
    if not isinstance(cell, str):
        raise _as_text(cell)
    return tuple(map(_code_or_item, several(cell)))


def _code_or_item(word: str) -> str:
    try:
        return normalize_procedure(word)
    except MalformedCode:
        return word


def item_level(cell: object) -> str:
    """The scope of a level grant: 1 or 2. Levels 3 and 4 are granted item by item (SGM-2022 art. 16)."""
    level = _level(cell)
    if level > 2:
        zh = f"三级、四级手术不得按级别授权（填的是 {level} 级），须逐项授权（SGM-2022 第十六条）。"
        raise CellError(zh, f"Level {level} cannot be granted as a level: levels 3 and 4 are granted item by item (SGM-2022 art. 16).")
    return str(level)


def _class_scope(cell: object) -> str:
    return str(_class(cell))


_level, _class = grade(4), grade(5)
_flag = one_of(ENTRY_FLAGS)

SCOPES: Mapping[ScopeType, Callable[[object], str]] = {
    ScopeType.CODE: procedure,
    ScopeType.ITEM: text_only,
    ScopeType.LEVEL: item_level,
    ScopeType.TECHNOLOGY: text,
    ScopeType.ASA: _class_scope,
    ScopeType.PERFUSION: _class_scope,
}
"""How the scope of a grant or volume reads, by its type."""


def _as_text(cell: object) -> CellError:
    return CellError(
        f"“{shown(cell)}”被存成了数字或日期，可能已失真（如 35.10 变成 35.1）。请把该列设为“文本”格式后重新填写。",
        f'"{shown(cell)}" is stored as a number or a date and may have lost digits (35.10 becomes 35.1). Format the column as text and enter it again.',
    )


def _clean(cell: str) -> str:
    """The text of a cell, refused where it is none that a person typed."""
    if cell.startswith("="):
        zh = "单元格是公式，请改为数值（复制后“选择性粘贴—数值”）。"
        raise CellError(zh, "The cell holds a formula. Replace it by its value (copy, paste special, values).")
    if len(cell) > MAX_TEXT_CHARS:
        zh = f"文字过长（{len(cell)} 字），最多 {MAX_TEXT_CHARS} 字。"
        raise CellError(zh, f"{len(cell)} characters are too many, at most {MAX_TEXT_CHARS} are allowed.")
    cleaned = normalize_text(cell)
    if cleaned in _SPREADSHEET_ERRORS:
        raise CellError(f"单元格是错误值 {cleaned}。", f"The cell holds the error {cleaned}.")
    if _SCIENTIFIC.fullmatch(cleaned):
        raise _as_text(cleaned)
    if not cleaned:
        raise CellError("单元格中没有可见的内容。", "The cell holds nothing that can be seen.")
    if not cleaned.isprintable() and any(unicodedata.category(char) == "Cc" for char in cleaned):
        raise CellError(f"“{shown(cleaned)}”含有控制字符，请重新填写。", f'"{shown(cleaned)}" holds control characters. Type it again.')
    return cleaned


def _no_date(cell: object) -> CellError:
    zh = f"“{shown(cell)}”不是日期，请把该列设为“日期”格式，或填写如 2026-11-22。"
    return CellError(zh, f'"{shown(cell)}" is no date. Format the column as date, or write it like 2026-11-22.')


def _no_moment(cell: object) -> CellError:
    zh = f"“{shown(cell)}”不是日期加时刻，请填写如 2026-11-22 17:30。"
    return CellError(zh, f'"{shown(cell)}" is no day with a time. Write it like 2026-11-22 17:30.')


def _moment(written: str) -> datetime:
    match = _MOMENT.fullmatch(_clean(written))
    if match is None:
        raise _no_moment(written)
    year, _, month, day_, hour, minute, second, offset = match.groups()
    text_ = f"{year}-{month:0>2}-{day_:0>2}T{hour:0>2}:{minute}:{second or '00'}{(offset or '').upper()}"
    try:
        return datetime.fromisoformat(text_)
    except ValueError as error:
        raise CellError(f"没有“{shown(written)}”这一时刻。", f'There is no such moment as "{shown(written)}".') from error


@lru_cache(maxsize=CACHED_CELLS)
def _day(written: str) -> date:
    cleaned = _clean(written)
    match = next(filter(None, (form.fullmatch(cleaned) for form in _DATE_FORMS)), None)
    if match is None:
        raise _no_date(written)
    try:
        return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError as error:
        raise CellError(f"没有“{shown(written)}”这一天。", f'There is no such day as "{shown(written)}".') from error

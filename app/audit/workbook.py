"""The record as a workbook: sheets that people read, and a sheet that carries the same lines as the JSON Lines file, to be verified like it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, BinaryIO

import msgspec

from app.audit import record_file
from app.audit.record_file import Piece, Range
from app.audit.records import BATCH
from app.audit.verify_record import PROOF_SHEET
from app.errors import BadInput, FieldError
from app.store.database import Database

MAX_ROWS = 1_000_000
"""A sheet holds 1,048,576 rows."""

MAX_CELL = 32_000
"""Characters in a cell; a spreadsheet takes 32,767."""

_Row = Mapping[str, Any]
_Columns = Sequence[tuple[str, Callable[[_Row], Any]]]


def _answered(row: _Row) -> Any:
    return msgspec.json.decode(row["answer"])


def _ordered(row: _Row) -> Any:
    return msgspec.json.decode(row["order"])


def _reasons(row: _Row) -> str:
    answer = _answered(row)
    found = [*answer["findings"], *(f for part in (*answer["procedures"], *answer["team"]) for f in part["findings"])]
    return ";".join(dict.fromkeys(finding["code"] for finding in found))


def _of_procedures(name: str) -> Callable[[_Row], str]:
    return lambda row: ";".join(str(procedure[name] or "") for procedure in _answered(row)["procedures"])


def _field(name: str) -> Callable[[_Row], Any]:
    return lambda row: row[name]


_SHEETS: Mapping[str, tuple[str, _Columns]] = {
    "decision": (
        "核查 decisions",
        (
            ("例次 case", _field("case_id")),
            ("环节 checkpoint", _field("checkpoint")),
            ("结论 decision", _field("decision")),
            ("级别 level", lambda row: _answered(row)["level"]),
            ("科室 department", lambda row: _ordered(row)["department"]),
            ("紧急程度 urgency", lambda row: _ordered(row)["urgency"]),
            ("手术编码 codes", _of_procedures("code")),
            ("手术名称 names", _of_procedures("name")),
            ("术者 operators", _of_procedures("operator")),
            ("原因代码 reasons", _reasons),
            ("说明 message", lambda row: _answered(row)["message"]["zh"]),
            ("请求号 request id", _field("request_id")),
            ("客户端 client", _field("client")),
            ("授权版本 matrix version", _field("matrix_version")),
        ),
    ),
    "override": (
        "越级手术 overrides",
        (
            ("越级手术编号 override", _field("override_id")),
            ("步骤 step", _field("action")),
            ("此后状态 state", _field("state")),
            ("经办 by", _field("by")),
            ("所述时间 told time", _field("at")),
            ("报告对象 reported to", _field("to")),
            ("说明 note", _field("note")),
            ("其他 detail", _field("detail")),
        ),
    ),
    "change": (
        "变更 changes",
        tuple((heading, _field(name)) for heading, name in (
            ("经办 by", "by"),
            ("类别 kind", "kind"),
            ("对象 subject", "subject"),
            ("操作 action", "action"),
            ("理由 reason", "reason"),
            ("文号 document", "document_no"),
            ("内容 detail", "detail"),
        )),
    ),
    "read": (
        "查阅 reads",
        tuple((heading, _field(name)) for heading, name in (
            ("客户端 client", "client"),
            ("人员 staff", "staff"),
            ("密钥 key", "key_id"),
            ("类别 kind", "kind"),
            ("查阅内容 subject", "subject"),
            ("所见记录 shown", "found"),
        )),
    ),
}  # fmt: skip
"""Kind of record → its sheet and columns, after those that every sheet has."""

_FIRST = ("序号 number", "时间 time", "编号 id")


async def write_workbook(database: Database, chosen: Range, zone: tzinfo, out: BinaryIO) -> None:
    """Write the workbook of a range. Times are shown in `zone`.

    Raises:
        BadInput: it has more entries than a sheet has rows.
    """
    if chosen.last - chosen.first >= MAX_ROWS:
        raise BadInput([FieldError("since", "too_many", f"超过 {MAX_ROWS} 条，请缩短时段 / more than {MAX_ROWS} entries: narrow the time")])
    book = await asyncio.to_thread(_Book, zone)
    waiting: list[Piece] = []
    async for piece in record_file.pieces(database, chosen):
        waiting.append(piece)
        if len(waiting) >= BATCH:
            await asyncio.to_thread(book.add, waiting)
            waiting = []
    await asyncio.to_thread(book.add, waiting)
    await asyncio.to_thread(book.save, out)


class _Book:
    """The workbook on its way. Its methods block."""

    def __init__(self, zone: tzinfo) -> None:
        # Loaded by who writes a workbook, see `packs.zips`.
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

        self._new_cell, self._illegal = WriteOnlyCell, ILLEGAL_CHARACTERS_RE
        self._zone = zone
        self._book = Workbook(write_only=True)
        self._sheets = {}
        for kind, (title, columns) in _SHEETS.items():
            self._sheets[kind] = self._book.create_sheet(title)
            self._append(self._sheets[kind], [*_FIRST, *(heading for heading, _ in columns)])
        self._proof = self._book.create_sheet(PROOF_SHEET)

    def add(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            # Raw U+FFFE and U+FFFF stand within texts, where JSON may escape them; XML has no way to hold them.
            text = piece.line.decode().rstrip("\n").replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
            self._append(self._proof, [text[at : at + MAX_CELL] for at in range(0, len(text), MAX_CELL)])
            entry = piece.entry
            if entry is not None and entry.kind in self._sheets:
                form = None if piece.found is None else piece.found.form
                told = [str(entry.number), self._time(entry.at), entry.ref, *_values(entry.kind, form)]
                self._append(self._sheets[entry.kind], told)

    def save(self, out: BinaryIO) -> None:
        self._book.save(out)

    def _time(self, at: str) -> str:
        try:
            return datetime.fromisoformat(at).astimezone(self._zone).isoformat(sep=" ", timespec="milliseconds")
        except ValueError:
            return at

    def _append(self, sheet: Any, texts: Sequence[str]) -> None:
        sheet.append([self._cell(sheet, text) for text in texts])

    def _cell(self, sheet: Any, text: str) -> Any:
        """Every cell is text: no spreadsheet makes a number of a code or a formula of what somebody wrote."""
        shown = self._illegal.sub("", text)
        cell = self._new_cell(sheet, shown if len(shown) <= MAX_CELL else shown[:MAX_CELL] + "…")
        cell.data_type = "s"
        cell.number_format = "@"
        return cell


def _values(kind: str, form: _Row | None) -> list[str]:
    return ["" if form is None else _value(read, form) for _, read in _SHEETS[kind][1]]


def _value(read: Callable[[_Row], Any], form: _Row) -> str:
    """What a person is shown of a record; one that was changed may not be readable any more, and is exported all the same."""
    try:
        value = read(form)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return "无法读取 unreadable"
    return "" if value is None else str(value)

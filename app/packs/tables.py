"""The tables of a pack, declared once each: columns with their headings, what each cell must hold, where the value goes.

A column without a reader is known and kept out of the engine: what people note beside a row. Any other heading is a problem, so that a
misspelt `valid_to` never becomes a grant without an end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app.packs import cells, words


class Column(msgspec.Struct, frozen=True):
    """One column. `name` is its English heading, `chinese` the headings that a Chinese table may have instead, the usual one first.

    `read` makes the value of a cell that is not blank and raises `CellError`; None: the column is known and not read. `required`: the
    column must be there and none of its cells blank. `field`: the field of the engine's value, where it is not called like the column.
    """

    name: str
    chinese: tuple[str, ...]
    read: Callable[[object], Any] | None = None
    required: bool = False
    field: str = ""


class Table(msgspec.Struct, frozen=True):
    """One kind of table, in `<kind>.csv` or `<kind>.xlsx`."""

    kind: str
    chinese: str
    columns: tuple[Column, ...]

    @property
    def files(self) -> tuple[str, str]:
        """The names that its file may have in a pack."""
        return f"{self.kind}.csv", f"{self.kind}.xlsx"


def _table(kind: str, chinese: str, *columns: Column) -> Table:
    """A table with these columns and those that any may have for people's notes."""
    return Table(kind, chinese, (*columns, Column("remark", ("备注",)), Column("made", ("补录",))))


def _as_written(cell: object) -> object:
    """What a scope means depends on its type, so the row reads it."""
    return cell


_STAFF = Column("staff", ("工号",), cells.identifier, required=True)
NAME_OF_STAFF = Column("name", ("姓名",), cells.text)
"""Kept by clerks to read their tables by; held against the register, and no part of the value."""
_SOURCE = Column("source", ("来源",))

ALIASES = _table(
    "aliases",
    "编码对照",
    Column("code", ("手术编码", "院内编码"), cells.procedure, required=True),
    Column("national_code", ("国家编码", "国家临床版编码"), cells.procedure, required=True),
    _SOURCE,
)

CATALOG = _table(
    "catalog",
    "手术分级管理目录",
    Column("code", ("手术编码", "手术操作编码"), cells.procedure, required=True),
    Column("name", ("手术名称", "手术操作名称"), cells.text, required=True),
    Column("level", ("手术级别", "国家级别"), cells.grade(4), required=True),
    Column("department", ("科室",), cells.several, field="departments"),
    Column("service", ("服务编码", "医疗服务编码"), cells.text_only),
    Column("service_name", ("申请单", "医疗服务名称")),
    Column("hospital_grade", ("院内分级",), cells.text_only),
    Column("item", ("授权项目", "调整后新码"), cells.text_only),
    Column("category", ("类别",), cells.text),
    Column("includes", ("包含", "包含项目"), cells.codes_or_items),
    Column("flags", ("标志", "标记"), cells.flags),
    Column("source", ("来源",), cells.text),
)

STAFF = _table(
    "staff",
    "人员",
    _STAFF,
    Column("name", ("姓名",), cells.text, required=True),
    Column("department", ("科室",), cells.single, required=True),
    Column("kind", ("人员类别",), cells.one_of(words.STAFF_KINDS), required=True),
    Column("title", ("职称",), cells.text),
    Column("license_no", ("执业证书编号",), cells.text),
    Column("license_valid_to", ("执业证书有效期", "执业证书有效期至"), cells.day),
    Column("practice_scope", ("执业范围",), cells.several),
    Column("practice_since", ("执业起始", "执业起始日期"), cells.day),
    Column("title_since", ("任职起始", "职称取得日期"), cells.day),
    Column("status", ("状态", "人员状态"), cells.one_of(words.STAFF_STATUSES)),
    Column("requalification", ("再评价", "再授权评价"), cells.one_of(words.REQUALIFICATIONS)),
    _SOURCE,
)

GRANTS = _table(
    "grants",
    "手术授权",
    Column("id", ("授权编号",), cells.identifier),
    _STAFF,
    NAME_OF_STAFF,
    Column("scope_type", ("授权类型",), cells.one_of(words.SCOPE_TYPES), required=True),
    Column("scope", ("授权范围",), _as_written, required=True),
    Column("department", ("科室",), cells.single),
    Column("role", ("授权角色", "角色"), cells.one_of(words.GRANT_ROLES)),
    Column("valid_from", ("授权起始", "授权起始日期"), cells.day, required=True),
    Column("valid_to", ("授权截止", "授权截止日期"), cells.day),
    Column("last_evaluated", ("最近评估", "最近评估日期"), cells.day),
    Column("document_no", ("批准文号",), cells.text),
    Column("state", ("状态", "授权状态"), cells.one_of(words.GRANT_STATES)),
    _SOURCE,
)

CREDENTIALS = _table(
    "credentials",
    "培训与免于培训",
    _STAFF,
    NAME_OF_STAFF,
    Column("technology", ("技术", "技术编号"), cells.identifier, required=True),
    Column("kind", ("证明类别",), cells.one_of(words.CREDENTIAL_KINDS), required=True),
    Column("issued_on", ("发证日期",), cells.day, required=True),
    Column("issuer", ("发证机构", "发证单位"), cells.text),
    _SOURCE,
)

VOLUMES = _table(
    "volumes",
    "手术例数",
    _STAFF,
    NAME_OF_STAFF,
    Column("scope_type", ("范围类型",), cells.one_of(words.VOLUME_SCOPE_TYPES), required=True),
    Column("scope", ("范围",), _as_written, required=True),
    Column("year", ("年度", "年份"), cells.number(1950, 2200), required=True),
    Column("operator_cases", ("术者例数", "主刀例数"), cells.number(0, cells.MAX_CASES)),
    Column("supervised_cases", ("指导例数",), cells.number(0, cells.MAX_CASES)),
    Column("last_case_on", ("最近一例日期",), cells.day),
    _SOURCE,
)

ROSTER = _table(
    "roster",
    "值班",
    _STAFF,
    NAME_OF_STAFF,
    Column("from", ("值班开始", "开始时间"), cells.moment, required=True, field="starts"),
    Column("to", ("值班结束", "结束时间"), cells.moment, required=True, field="ends"),
    _SOURCE,
)

TABLES: Mapping[str, Table] = {table.kind: table for table in (ALIASES, CATALOG, STAFF, GRANTS, CREDENTIALS, VOLUMES, ROSTER)}
"""Every kind of table, in the order in which they are read: what a row may name comes before it."""

"""The tables of a pack, declared once each: columns with their headings, what each cell must hold, where the value goes.

A column without a reader is known and kept out of the engine: what people note beside a row. Any other heading is a problem, so that a
misspelt `valid_to` never becomes a grant without an end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app.packs import cells
from app.packs.words import (
    CREDENTIAL_KINDS,
    GRANT_ROLES,
    GRANT_STATES,
    REQUALIFICATIONS,
    SCOPE_TYPES,
    STAFF_KINDS,
    STAFF_STATUSES,
    VOLUME_SCOPE_TYPES,
)


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


def _unread(name: str, *chinese: str) -> Column:
    return Column(name, chinese)


def _cell(name: str, *chinese: str, read: Callable[[object], Any], required: bool = False, field: str = "") -> Column:
    return Column(name, chinese, read, required, field)


def _as_written(cell: object) -> object:
    """What a scope means depends on its type, so the row reads it."""
    return cell


_REMARK, _MADE, _SOURCE = _unread("remark", "备注"), _unread("made", "补录"), _unread("source", "来源")

CATALOG = Table(
    "catalog",
    "手术分级管理目录",
    (
        _cell("code", "手术编码", "手术操作编码", read=cells.procedure, required=True),
        _cell("name", "手术名称", "手术操作名称", read=cells.text, required=True),
        _cell("level", "手术级别", "国家级别", read=cells.grade(4), required=True),
        _cell("department", "科室", read=cells.several, field="departments"),
        _cell("service", "服务编码", "医疗服务编码", read=cells.text_only),
        _unread("service_name", "申请单", "医疗服务名称"),
        _cell("hospital_grade", "院内分级", read=cells.text_only),
        _cell("item", "授权项目", "调整后新码", read=cells.text_only),
        _cell("category", "类别", read=cells.text),
        _cell("includes", "包含", "包含项目", read=cells.codes_or_items),
        _cell("flags", "标志", "标记", read=cells.flags),
        _REMARK,
        _MADE,
        _cell("source", "来源", read=cells.text),
    ),
)

ALIASES = Table(
    "aliases",
    "编码对照",
    (
        _cell("code", "手术编码", "院内编码", read=cells.procedure, required=True),
        _cell("national_code", "国家编码", "国家临床版编码", read=cells.procedure, required=True),
        _REMARK,
        _MADE,
        _SOURCE,
    ),
)

STAFF = Table(
    "staff",
    "人员",
    (
        _cell("staff", "工号", read=cells.text, required=True),
        _cell("name", "姓名", read=cells.text, required=True),
        _cell("department", "科室", read=cells.single, required=True),
        _cell("kind", "人员类别", read=cells.one_of(STAFF_KINDS), required=True),
        _cell("title", "职称", read=cells.text),
        _cell("license_no", "执业证书编号", read=cells.text),
        _cell("license_valid_to", "执业证书有效期", "执业证书有效期至", read=cells.day),
        _cell("practice_scope", "执业范围", read=cells.several),
        _cell("practice_since", "执业起始", "执业起始日期", read=cells.day),
        _cell("title_since", "任职起始", "职称取得日期", read=cells.day),
        _cell("status", "状态", "人员状态", read=cells.one_of(STAFF_STATUSES)),
        _cell("requalification", "再评价", "再授权评价", read=cells.one_of(REQUALIFICATIONS)),
        _REMARK,
        _MADE,
        _SOURCE,
    ),
)

GRANTS = Table(
    "grants",
    "手术授权",
    (
        _cell("id", "授权编号", read=cells.text),
        _cell("staff", "工号", read=cells.text, required=True),
        _cell("scope_type", "授权类型", read=cells.one_of(SCOPE_TYPES), required=True),
        _cell("scope", "授权范围", read=_as_written, required=True),
        _cell("department", "科室", read=cells.single),
        _cell("role", "授权角色", "角色", read=cells.one_of(GRANT_ROLES)),
        _cell("valid_from", "授权起始", "授权起始日期", read=cells.day, required=True),
        _cell("valid_to", "授权截止", "授权截止日期", read=cells.day),
        _cell("last_evaluated", "最近评估", "最近评估日期", read=cells.day),
        _cell("document_no", "批准文号", read=cells.text),
        _cell("state", "状态", "授权状态", read=cells.one_of(GRANT_STATES)),
        _REMARK,
        _MADE,
        _SOURCE,
    ),
)

CREDENTIALS = Table(
    "credentials",
    "培训与免于培训",
    (
        _cell("staff", "工号", read=cells.text, required=True),
        _cell("technology", "技术", "技术编号", read=cells.text, required=True),
        _cell("kind", "证明类别", read=cells.one_of(CREDENTIAL_KINDS), required=True),
        _cell("issued_on", "发证日期", read=cells.day, required=True),
        _cell("issuer", "发证机构", "发证单位", read=cells.text),
        _REMARK,
        _MADE,
        _SOURCE,
    ),
)

VOLUMES = Table(
    "volumes",
    "手术例数",
    (
        _cell("staff", "工号", read=cells.text, required=True),
        _cell("scope_type", "范围类型", read=cells.one_of(VOLUME_SCOPE_TYPES), required=True),
        _cell("scope", "范围", read=_as_written, required=True),
        _cell("year", "年度", "年份", read=cells.number(1950, 2200), required=True),
        _cell("operator_cases", "术者例数", "主刀例数", read=cells.number(0, cells.MAX_CASES)),
        _cell("supervised_cases", "指导例数", read=cells.number(0, cells.MAX_CASES)),
        _cell("last_case_on", "最近一例日期", read=cells.day),
        _REMARK,
        _MADE,
        _SOURCE,
    ),
)

TABLES: Mapping[str, Table] = {table.kind: table for table in (CATALOG, ALIASES, STAFF, GRANTS, CREDENTIALS, VOLUMES)}
"""Every kind of table, in the order in which they are read: what a row may name comes before it."""

"""hospital.toml, and the shorter pack.toml of a pack that several hospitals build on: who this is, and what the hospital decides within
what the law leaves open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from app.engine import reasons
from app.engine.codes import normalize_text
from app.engine.model import STANDARD_EMERGENCY_REASONS, STANDARD_FLAGS, ByCheckpoint, Disposition, OfficeHours, Paediatric, Policy
from app.packs.problems import Problems
from app.packs.texts import Nearest, hint, shown
from app.packs.toml_tables import TomlTable, parse_toml

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FLAG = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

NOTIFY_WHEN = ("office", "duty", "always")
MAX_WORKING_DAYS = 366
MAX_RETENTION_YEARS = 1_000
MAX_PAEDIATRIC_YEARS = 25


class Settings(msgspec.Struct, frozen=True):
    """What hospital.toml says. `departments`: the hospital's other names for a department → its own. `notify` is as written, checked for
    its keys. `retention_years` None: nothing said."""

    code: str
    name: str
    time_zone: ZoneInfo
    province: str = ""
    builds_on: tuple[str, ...] = ()
    departments: Mapping[str, str] = {}
    policy: Policy = Policy()
    paediatric: Paediatric | None = None
    office_hours: OfficeHours = OfficeHours()
    notify: tuple[Mapping[str, str], ...] = ()
    retention_years: int | None = None


def read_shared(file: str, data: bytes, problems: Problems) -> None:
    """Checks a pack.toml. What it holds is for people; what the pack brings is in its technologies."""
    top = parse_toml(file, data, problems)
    if top is None:
        return
    _code(top)
    top.text("name", required=True)
    top.text("source")
    top.note_unknown(("note",))


def read_hospital(file: str, data: bytes, problems: Problems) -> Settings | None:
    """The settings in a hospital.toml; None where there is a problem with who the hospital is. Other problems leave defaults in place, so
    that the tables can still be looked through."""
    top = parse_toml(file, data, problems)
    if top is None:
        return None
    code, name, zone = _code(top), top.text("name", required=True), _time_zone(top)
    departments = _departments(top)
    rest: dict[str, Any] = {
        "province": top.text("province") or "",
        "builds_on": _builds_on(top),
        "departments": departments,
        "policy": _policy(top),
        "paediatric": _paediatric(top, departments),
        "office_hours": _office_hours(top),
        "notify": _notify(top),
        "retention_years": _retention_years(top),
    }
    top.note_unknown()
    return Settings(code, name, zone, **rest) if code and name and zone else None


def _code(top: TomlTable) -> str | None:
    code = top.text("code", required=True)
    if code is not None and not _CODE.fullmatch(code):
        top.problem("code", "代码只能用字母、数字、- 和 _，最多 64 个。", "A code has letters, digits, - and _ only, at most 64.")
        return None
    return code


def _time_zone(top: TomlTable) -> ZoneInfo | None:
    name = top.text("time_zone", required=True)
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; a path out of the database; a folder of it
        top.problem(
            "time_zone",
            f"没有时区“{shown(name)}”，应如 Asia/Shanghai。",
            f'There is no time zone "{shown(name)}". Write it like Asia/Shanghai.',
        )
        return None


def _builds_on(top: TomlTable) -> tuple[str, ...]:
    names = top.texts("builds_on") or ()
    for name in names:
        if not _CODE.fullmatch(name):
            top.problem("builds_on", f"“{shown(name)}”不是数据包名称。", f'"{shown(name)}" is no name of a pack.')
    return tuple(name for name in names if _CODE.fullmatch(name))


def _departments(top: TomlTable) -> dict[str, str]:
    table = top.table("departments")
    if table is None:
        return {}
    aliases = {normalize_text(alias): name for alias in table if (name := table.text(alias, required=True))}
    for alias, name in aliases.items():
        if alias == name:
            table.problem(alias, "别名与科室名相同。", "The alias is the department's own name.")
        elif name in aliases:
            table.problem(alias, f"“{name}”本身也是别名，请直接写科室名。", f'"{name}" is an alias itself. Name the department.')
    return aliases


def _policy(top: TomlTable) -> Policy:
    table = top.table("policy") or TomlTable({}, top.file, "policy", top.problems)
    order_right, major_flags, added = table.flag("order_right"), table.texts("major_flags"), table.texts("flags")
    default = Policy()
    major = default.major_flags if major_flags is None else frozenset(major_flags)
    _check_flags(table, "major_flags", major_flags or (), (*STANDARD_FLAGS, *(added or ())))
    _check_flags(table, "flags", added or (), ())
    return Policy(
        dispositions=_dispositions(table),
        order_right=bool(order_right),
        major_flags=major,
        flags=default.flags | major | frozenset(added or ()),
        emergency_reasons=_emergency_reasons(top),
        review_due_working_days=_review_due(top, default.review_due_working_days),
    )


def _check_flags(table: TomlTable, key: str, flags: tuple[str, ...], known: tuple[str, ...]) -> None:
    """A flag that nobody knows is the hospital's own. One that is nearly a known one is rather a slip, which would go unnoticed."""
    nearest = Nearest(known)
    for flag in flags:
        if not _FLAG.fullmatch(flag):
            table.problem(
                key, f"“{shown(flag)}”：标志只能用小写字母、数字和 _。", f'"{shown(flag)}": a flag has small letters, digits and _ only.'
            )
        elif flag not in known and (like := nearest.to(flag)):
            zh, en = hint(like)
            table.problems.warn(
                table.file, f"新增患者标志“{flag}”。{zh}", f'"{flag}" becomes a patient flag of its own.{en}', column=f"policy.{key}"
            )


def _dispositions(table: TomlTable) -> dict[str, Disposition | ByCheckpoint]:
    """What the hospital makes of findings, by reason code: every key of the table that is not a switch."""
    found: dict[str, Disposition | ByCheckpoint] = {}
    for key in table:
        if key not in reasons.REASONS:
            continue
        if not table.holds_table(key):
            if (disposition := _disposition(table, key, key)) is not None:
                found[key] = disposition
        elif key in reasons.BY_CHECKPOINT:
            found[key] = _by_checkpoint(table, key)
        else:
            table.table(key)
            table.problem(key, "该项不能按环节设置，请只写一个值。", "This one cannot be set by checkpoint. Write one value.")
    table.note_unknown(suggest=reasons.REASONS)
    return found


def _by_checkpoint(table: TomlTable, code: str) -> ByCheckpoint:
    inner = table.table(code)
    values = {} if inner is None else {key: _disposition(inner, key, code) for key in ByCheckpoint.__struct_fields__ if key in inner}
    if inner is not None:
        inner.note_unknown(suggest=ByCheckpoint.__struct_fields__)
    return ByCheckpoint(**values)


def _disposition(table: TomlTable, key: str, code: str) -> Disposition | None:
    value = table.member(key, Disposition)
    if value is None:
        return None
    if refusal := reasons.refuse_disposition(code, value):
        table.problem(key, f"{code} 不得放宽为 {value}（最低为 {reasons.REASONS[code].floor}）。", f"{refusal}.")
        return None
    return value


def _emergency_reasons(top: TomlTable) -> tuple[str, ...]:
    table = top.table("emergency")
    if table is None:
        return STANDARD_EMERGENCY_REASONS
    codes = table.texts("reason_codes", may_be_empty=False)
    table.note_unknown()
    return codes or STANDARD_EMERGENCY_REASONS


def _review_due(top: TomlTable, default: int) -> int:
    table = top.table("review")
    if table is None:
        return default
    due = table.integer("due_working_days", 1, MAX_WORKING_DAYS)
    table.note_unknown()
    return due or default


def _paediatric(top: TomlTable, aliases: Mapping[str, str]) -> Paediatric | None:
    table = top.table("paediatric")
    if table is None:
        return None
    years, departments = table.integer("under_years", 1, MAX_PAEDIATRIC_YEARS), table.texts("departments", may_be_empty=False)
    for key in ("under_years", "departments"):
        if key not in table:
            table.problem(key, "必填，不能为空。", "Required: it must not be empty.")
    table.note_unknown()
    if not years or not departments:
        return None
    return Paediatric(years, frozenset(aliases.get(name, name) for name in departments))


def _office_hours(top: TomlTable) -> OfficeHours:
    table = top.table("office_hours")
    default = OfficeHours()
    if table is None:
        return default
    days, holidays = table.integers("days"), table.days("holidays")
    if days is not None and (not days or not all(1 <= day <= 7 for day in days)):
        table.problem("days", "应为 1（周一）至 7（周日）。", "The days go from 1 (Monday) to 7 (Sunday), one at least.")
    opens, closes = _clock(table, "from", default.opens), _clock(table, "to", default.closes)
    if opens >= closes:
        table.problem("to", "下班时间须晚于上班时间。", "The office must close after it opens.")
    table.note_unknown()
    return OfficeHours(default.days if days is None else frozenset(days), opens, closes, frozenset(holidays or ()))


def _clock(table: TomlTable, key: str, default: int) -> int:
    """Minutes after midnight."""
    written = table.text(key)
    if written is None:
        return default
    if match := _CLOCK.fullmatch(written):
        return int(match[1]) * 60 + int(match[2])
    table.problem(key, f"“{shown(written)}”应如 08:00。", f'"{shown(written)}" should be like 08:00.')
    return default


def _notify(top: TomlTable) -> tuple[Mapping[str, str], ...]:
    found = []
    for table in top.tables("notify") or ():
        values = {key: table.raw_text(key) for key in ("kind", "url", "secret", "when")}
        table.note_unknown()
        for key in ("kind", "url"):
            if key not in table or values[key] == "":
                table.problem(key, "必填，不能为空。", "Required: it must not be empty.")
        url, when = values["url"], values["when"]
        if url and not url.startswith(("https://", "http://")):
            table.problem("url", "地址须以 https:// 或 http:// 开头。", "The address must begin with https:// or http://.")
        if when and when not in NOTIFY_WHEN:
            table.problem("when", f"应为：{'、'.join(NOTIFY_WHEN)}。", f"It should be one of: {', '.join(NOTIFY_WHEN)}.")
        found.append({key: value for key, value in values.items() if value})
    return tuple(found)


def _retention_years(top: TomlTable) -> int | None:
    table = top.table("records")
    if table is None:
        return None
    years = table.integer("retention_years", 1, MAX_RETENTION_YEARS)
    table.note_unknown()
    return years

"""hospital.toml: who the hospital is, and what it decides within what the law leaves open."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date
from zoneinfo import ZoneInfo

import msgspec

from app.engine import reasons
from app.engine.codes import normalize_text
from app.engine.model import STANDARD_FLAGS, ByCheckpoint, Disposition, Hospital, OfficeHours, Paediatric, Policy
from app.packs.texts import Nearest, shown
from app.packs.toml_tables import TomlTable

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FLAG = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ADDRESS = re.compile(r"https?://[^/?#\s]+[^\s]*\Z")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

NOTIFY_KINDS = ("webhook", "wecom", "dingtalk")
NOTIFY_WHEN = ("office", "duty", "always")
MAX_WORKING_DAYS = 366
MAX_RETENTION_YEARS = 1_000
MAX_PAEDIATRIC_YEARS = 25


class Settings(msgspec.Struct, frozen=True):
    """What hospital.toml says; the `hospital` has no catalog and no technologies yet. `notify`: where overrides are sent, as written, checked
    for its keys. `retention_years`: how long records are kept, None where nothing is said."""

    hospital: Hospital
    province: str
    builds_on: tuple[str, ...]
    notify: tuple[Mapping[str, str], ...]
    retention_years: int | None


def read_hospital(top: TomlTable) -> Settings | None:
    """The settings in a hospital.toml; None where there is a problem with who the hospital is. Other problems leave defaults in place, so
    that the tables can still be looked through."""
    code, name, zone = _code(top), top.text("name", required=True), _time_zone(top)
    departments = _departments(top)
    policy, paediatric, office_hours = _policy(top), _paediatric(top, departments), _office_hours(top)
    province, builds_on, notify = top.text("province") or "", top.texts("builds_on") or (), top.each("notify", _notify) or ()
    retention_years = top.table("records").integer("retention_years", 1, MAX_RETENTION_YEARS)
    top.note_unknown()
    if not (code and name and zone):
        return None
    hospital = Hospital(
        code=code,
        name=name,
        time_zone=zone,
        department_aliases=departments,
        policy=policy,
        paediatric=paediatric,
        office_hours=office_hours,
    )
    return Settings(hospital, province, builds_on, notify, retention_years)


def _code(top: TomlTable) -> str | None:
    code = top.text("code", required=True)
    if code is not None and not _CODE.fullmatch(code):
        top.problem("code", "代码只能用字母、数字、- 和 _，最多 64 个。", "A code has letters, digits, - and _ only, at most 64.")
        return None
    return code


def _time_zone(top: TomlTable) -> ZoneInfo | None:
    name = top.text("time_zone", required=True)
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):  # unknown; a path out of the database; a folder of it
        zh = f"没有时区“{shown(name)}”，应如 Asia/Shanghai。"
        top.problem("time_zone", zh, f'There is no time zone "{shown(name)}". Write it like Asia/Shanghai.')
        return None


def _departments(top: TomlTable) -> dict[str, str]:
    table = top.table("departments")
    aliases = {normalize_text(alias): name for alias in table if (name := table.text(alias, required=True))}
    for alias, name in aliases.items():
        if alias == name:
            table.problem(alias, "别名与科室名相同。", "The alias is the department's own name.")
        elif name in aliases:
            table.problem(alias, f"“{name}”本身也是别名，请直接写科室名。", f'"{name}" is an alias itself. Name the department.')
    return aliases


def _policy(top: TomlTable) -> Policy:
    table, default = top.table("policy"), Policy()
    major_flags, added = table.texts("major_flags"), table.texts("flags") or ()
    _check_flags(table, "major_flags", major_flags or (), (*STANDARD_FLAGS, *added))
    _check_flags(table, "flags", added, ())
    major = default.major_flags if major_flags is None else frozenset(major_flags)
    return Policy(
        dispositions=_dispositions(table),
        order_right=table.get("order_right", bool) or default.order_right,
        major_flags=major,
        flags=default.flags | major | frozenset(added),
        emergency_reasons=top.table("emergency").texts("reason_codes", filled=True) or default.emergency_reasons,
        review_due_working_days=top.table("review").integer("due_working_days", 1, MAX_WORKING_DAYS) or default.review_due_working_days,
    )


def _check_flags(table: TomlTable, key: str, flags: Collection[str], known: Collection[str]) -> None:
    """A flag that nobody knows is the hospital's own. One that is nearly a known one is rather a slip, which would go unnoticed."""
    nearest = Nearest(known)
    for flag in flags:
        zh, en = nearest.hint(flag)
        if not _FLAG.fullmatch(flag):
            zh = f"“{shown(flag)}”：标志只能用小写字母、数字和 _。"
            table.problem(key, zh, f'"{shown(flag)}": a flag has small letters, digits and _ only.')
        elif flag not in known and zh:
            zh, en = f"新增患者标志“{flag}”。{zh}", f'"{flag}" becomes a patient flag of its own.{en}'
            table.problems.warn(table.file, zh, en, column=table.path(key))


def _dispositions(table: TomlTable) -> dict[str, Disposition | ByCheckpoint]:
    """What the hospital makes of findings, by reason code."""
    found: dict[str, Disposition | ByCheckpoint] = {}
    for code in reasons.REASONS:
        if not table.holds_table(code):
            if disposition := _disposition(table, code, code):
                found[code] = disposition
        elif code in reasons.BY_CHECKPOINT:
            inner = table.table(code)
            found[code] = ByCheckpoint(**{key: _disposition(inner, key, code) for key in ByCheckpoint.__struct_fields__})
        else:
            table.ignore(code)
            table.problem(code, "该项不能按环节设置，请只写一个值。", "This one cannot be set by checkpoint. Write one value.")
    return found


def _disposition(table: TomlTable, key: str, code: str) -> Disposition | None:
    value = table.word(key, Disposition)
    if value is not None and (refusal := reasons.refuse_disposition(code, value)):
        table.problem(key, f"{code} 不得放宽为 {value}（最低为 {reasons.REASONS[code].floor}）。", f"{refusal}.")
        return None
    return value


def _paediatric(top: TomlTable, aliases: Mapping[str, str]) -> Paediatric | None:
    if top.get("paediatric", dict) is None:
        return None
    table = top.table("paediatric")
    years, departments = table.integer("under_years", 1, MAX_PAEDIATRIC_YEARS), table.texts("departments", filled=True)
    for key in ("under_years", "departments"):
        if key not in table:
            table.problem(key, "必填，不能为空。", "Required: it must not be empty.")
    return Paediatric(years, frozenset(aliases.get(name, name) for name in departments)) if years and departments else None


def _office_hours(top: TomlTable) -> OfficeHours:
    table, default = top.table("office_hours"), OfficeHours()
    days = table.items("days", int, filled=True)
    if not all(1 <= day <= 7 for day in days or ()):
        table.problem("days", "应为 1（周一）至 7（周日）。", "The days go from 1 (Monday) to 7 (Sunday).")
    opens, closes = _clock(table, "from", default.opens), _clock(table, "to", default.closes)
    if opens >= closes:
        table.problem("to", "下班时间须晚于上班时间。", "The office must close after it opens.")
    return OfficeHours(frozenset(days or default.days), opens, closes, frozenset(table.items("holidays", date) or ()))


def _clock(table: TomlTable, key: str, default: int) -> int:
    """Minutes after midnight."""
    written = table.text(key)
    if written is None:
        return default
    if match := _CLOCK.fullmatch(written):
        return int(match[1]) * 60 + int(match[2])
    table.problem(key, f"“{shown(written)}”应如 08:00。", f'"{shown(written)}" should be like 08:00.')
    return default


def _notify(table: TomlTable) -> Mapping[str, str]:
    url = table.get("url", str, required=True)
    if url and not _ADDRESS.match(url):
        table.problem("url", "地址须以 https:// 或 http:// 开头。", "The address must begin with https:// or http://.")
    kind = table.get("kind", str, required=True)
    values = {
        "kind": kind and table.word("kind", NOTIFY_KINDS),
        "url": url,
        "secret": table.get("secret", str),
        "when": table.word("when", NOTIFY_WHEN),
    }
    return {key: value for key, value in values.items() if value}

"""What a technology asks of its operator: years, title, case counts, idle time (BJ-2025, SC-2022), judged on the day of surgery.

A fact that is not on record never counts as met.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date

from app.engine.calendar import add_years, full_years
from app.engine.catalog import scope_key
from app.engine.matrix import PersonRow
from app.engine.model import TITLES, Facts, Qualification, ScopeType, Technology, Value, Volume


class Shortfall(Value, frozen=True):
    """One requirement that is not met: what was asked and what is on record, with a text for people."""

    asked: str
    required: object
    actual: object
    zh: str
    en: str

    def facts(self) -> Facts:
        return {"asked": self.asked, "required": self.required, "actual": self.actual}


def asks_training(technology: Technology, level: int | None) -> bool:
    """Whether training or an exemption must be on record at that level. It must, unless the qualification says otherwise or leaves it to
    alternatives."""
    tables = [q for q in technology.qualification if q.level in (None, level)]
    return all(q.training is not False and not any(a.training is not None for a in q.any_of) for q in tables)


def is_exempt(row: PersonRow, technology: Technology, counted: frozenset[str], level: int | None, day: date) -> bool:
    """Whether the person meets the numbers that lift the training."""
    return any(_exempts(row, technology, counted, q, level, day) for q in technology.qualification if q.level in (None, level))


def _exempts(row: PersonRow, technology: Technology, counted: frozenset[str], table: Qualification, level: int | None, day: date) -> bool:
    exempt = table.exempt
    return exempt is not None and exempt.level in (None, level) and not shortfalls(row, technology, counted, exempt, level, day)


def unmet(row: PersonRow, technology: Technology, counted: frozenset[str], level: int | None, day: date) -> list[Shortfall]:
    """What the person lacks of the technology's qualification; every table that is for this level must hold."""
    return [
        lacking
        for table in technology.qualification
        if table.level in (None, level)
        for lacking in shortfalls(row, technology, counted, table, level, day)
    ]


def shortfalls(
    row: PersonRow, technology: Technology, counted: frozenset[str], table: Qualification, level: int | None, day: date
) -> list[Shortfall]:
    """What the person lacks of one table, without its training at the top (a rule of its own)."""
    volumes = list(_volumes(row, technology, counted, table.within_years, day))
    operated = sum(v.operator_cases for v in volumes)
    assisted = operated + sum(v.supervised_cases for v in volumes)
    last = max(
        (v.last_case_on for v in _volumes(row, technology, counted, None, day) if v.last_case_on is not None and v.last_case_on <= day),
        default=None,
    )
    staff = row.staff
    found = [
        _number("years", "从业年限（年）", "years of practice", table.years, _years(staff.practice_since, day)),
        _title(table.title, staff.title),
        _number("years_in_title", "任职年限（年）", "years in the title", table.years_in_title, _years(staff.title_since, day)),
        _practice_scope(table.practice_scope, staff.practice_scope),
        _number("cases", "例数", "cases", table.cases, assisted),
        _number("independent_cases", "独立完成例数", "independent cases", table.independent_cases, operated),
        _idle(table.max_idle_years, last, day),
    ]
    lacking = [shortfall for shortfall in found if shortfall is not None]
    if table.any_of and not any(_alternative_holds(row, technology, counted, a, level, day) for a in table.any_of):
        lacking.append(Shortfall("any_of", len(table.any_of), 0, "各备选条件均未满足", "none of the alternatives is met"))
    return lacking


def _alternative_holds(
    row: PersonRow, technology: Technology, counted: frozenset[str], table: Qualification, level: int | None, day: date
) -> bool:
    if table.level not in (None, level):
        return False
    if table.training and not row.trained(technology.id, day) and not _exempts(row, technology, counted, table, level, day):
        return False
    return not shortfalls(row, technology, counted, table, level, day)


def _volumes(row: PersonRow, technology: Technology, counted: frozenset[str], within_years: int | None, day: date) -> Iterable[Volume]:
    """The person's volumes of the technology in the calendar years that count: those kept for the technology itself, or, where there are
    none, those of the `counted` codes and items (counting both would count an operation twice)."""
    first_year = day.year - within_years + 1 if within_years is not None else 0
    rows = [v for v in row.volumes if first_year <= v.year <= day.year]
    own = [v for v in rows if v.scope_type is ScopeType.TECHNOLOGY and v.scope == technology.id]
    if own:
        return own
    return [v for v in rows if scope_key(v.scope_type, v.scope) in counted]


def _years(since: date | None, day: date) -> int | None:
    return None if since is None else full_years(since, day)


def _number(asked: str, zh: str, en: str, required: int | None, actual: int | None) -> Shortfall | None:
    if required is None or (actual is not None and actual >= required):
        return None
    shown = "—" if actual is None else actual
    return Shortfall(asked, required, actual, f"{zh}要求≥{required}，现为{shown}", f"{en} ≥ {required} asked, {shown} on record")


def _title(required: str | None, actual: str) -> Shortfall | None:
    if required is None or (actual in TITLES and TITLES[actual] >= TITLES[required]):
        return None
    return Shortfall(
        "title",
        required,
        actual,
        f"职称要求{required}及以上，现为{actual or '—'}",
        f"title {required} or above asked, {actual or '—'} on record",
    )


def _practice_scope(required: tuple[str, ...], actual: tuple[str, ...]) -> Shortfall | None:
    if not required or not {_scope_key(s) for s in required}.isdisjoint(_scope_key(s) for s in actual):
        return None
    wanted, has = "、".join(required), "、".join(actual) or "—"
    return Shortfall(
        "practice_scope",
        list(required),
        list(actual),
        f"执业范围要求{wanted}，现为{has}",
        f"scope of practice {wanted} asked, {has} on record",
    )


def _scope_key(scope: str) -> str:
    """The sources write one scope of practice in several ways: 眼耳鼻咽喉科专业, 眼耳鼻喉科, 眼耳鼻咽喉专业."""
    return re.sub("(专业|科)+$", "", scope.strip()).replace("鼻喉", "鼻咽喉")


def _idle(max_idle_years: int | None, last: date | None, day: date) -> Shortfall | None:
    if max_idle_years is None or (last is not None and add_years(last, max_idle_years) >= day):
        return None
    shown = "—" if last is None else last.isoformat()
    return Shortfall(
        "max_idle_years",
        max_idle_years,
        shown,
        f"中断不得超过{max_idle_years}年，最近一例为{shown}",
        f"no more than {max_idle_years} years without a case, the last was {shown}",
    )

"""Counts for the operations and the medical affairs office."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Query as QueryOf
from pydantic import Field

from app.api.answers import (
    CodeOverrides,
    DayCount,
    DayOverrides,
    DepartmentCount,
    DepartmentOverrides,
    FlagCount,
    HourOverrides,
    Outcomes,
    OverrideCounts,
    ReasonCount,
    StateCount,
    Stats,
    SurgeonCount,
    SurgeonOverrides,
)
from app.api.http import answer, gateway_of, reader
from app.api.queries import Day, Query
from app.cache.live_hospital import LiveHospital
from app.engine.reasons import PRECEDENCE
from app.errors import BadInput, FieldError
from app.overrides.life import OverrideState
from app.overrides.told import code_name, name_of
from app.store import overrides, stats
from app.store.keys import Key, Role

DEFAULT_DAYS = 30
MAX_DAYS = 366
"""A longer period is asked for in parts: every decision in it is counted while the caller waits."""

router = APIRouter(tags=["operations"])


class StatsAsked(Query):
    """`since` and `until` are days of the hospital, both included; the last 30 days where they are left out."""

    since: Annotated[Day | None, Field(description="First day; 30 days up to `until` where it is left out")] = None
    until: Annotated[Day | None, Field(description="Last day; today where it is left out")] = None


@router.get("/v1/stats", summary="Decisions per day, department, surgeon and reason; overrides and their reviews")
async def get_stats(
    request: Request, asked: Annotated[StatsAsked, QueryOf()], key: Annotated[Key, reader(Role.OPS, Role.MEDICAL_AFFAIRS)]
) -> Response:
    gateway = gateway_of(request)
    live = await gateway.live.hospital(key.hospital)
    period = _period(asked, key.hospital, datetime.now(UTC).astimezone(live.hospital.time_zone).date())
    async with gateway.database.read() as connection:
        days = await stats.by_day(connection, period)
        departments = await stats.by_term(connection, period, "department")
        surgeons = await stats.by_term(connection, period, "operator")
        reasons = await stats.by_term(connection, period, "reason")
        tally = await stats.overrides_of(connection, period)
        waiting = await overrides.waiting(connection, datetime.now(UTC).isoformat(timespec="microseconds"), key.hospital)
        relaxed = await stats.relaxed_by_operator(connection, period)
    people = live.people
    return answer(
        Stats(
            since=period.since,
            until=period.until,
            total=Outcomes(*(sum(counts) for counts in zip(*days.values(), strict=True)) if days else (0, 0, 0)),
            days=tuple(DayCount(*counts, date.fromisoformat(day)) for day, counts in days.items()),
            departments=tuple(DepartmentCount(*counts, name) for name, counts in departments.items()),
            surgeons=tuple(
                SurgeonCount(*counts, number, people[number].staff.name if number in people else None, relaxed.get(number, 0))
                for number, counts in surgeons.items()
            ),
            reasons=tuple(ReasonCount(*reasons[code], code) for code in sorted(reasons, key=lambda code: PRECEDENCE[code])),
            overrides=_overrides(live, tally, waiting),
        )
    )


def _overrides(live: LiveHospital, tally: stats.OverrideTally, waiting: Sequence[overrides.Waiting]) -> OverrideCounts:
    return OverrideCounts(
        open=sum(one.waiting for one in waiting),
        overdue=sum(one.overdue for one in waiting),
        states=tuple(StateCount(state, tally.states[state]) for state in OverrideState if state in tally.states),
        days=tuple(DayOverrides(date.fromisoformat(day), count) for day, count in sorted(tally.days.items())),
        departments=tuple(DepartmentOverrides(*counted) for counted in tally.departments.most_common()),
        surgeons=tuple(SurgeonOverrides(number, name_of(live, number), count) for number, count in tally.surgeons.most_common()),
        codes=tuple(
            CodeOverrides(code, code_name(live, tally.department_of[code], code), count) for code, count in tally.codes.most_common()
        ),
        hours=tuple(HourOverrides(*counted) for counted in sorted(tally.hours.items())),
        flags=tuple(FlagCount(*counted) for counted in tally.flags.most_common()),
    )


def _period(asked: StatsAsked, hospital: str, today: date) -> stats.Period:
    until = asked.until or today
    try:
        since = asked.since or until - timedelta(days=DEFAULT_DAYS - 1)
    except OverflowError:
        raise BadInput([FieldError("until", "out_of_range", "日期超出范围 / out of range")]) from None
    if not timedelta(0) <= until - since < timedelta(days=MAX_DAYS):
        text = f"须不晚于 until，且最多{MAX_DAYS}天 / not after until, and at most {MAX_DAYS} days"
        raise BadInput([FieldError("since", "out_of_range", text)])
    return stats.Period(hospital, since, until)

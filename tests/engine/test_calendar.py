"""Years, working days, office hours."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from app.engine.calendar import add_working_days, add_years, full_years, in_office_hours
from app.engine.model import OfficeHours

ZONE = ZoneInfo("Asia/Shanghai")


def test_a_year_after_29_february_is_28_february() -> None:
    assert add_years(date(2024, 2, 29), 1) == date(2025, 2, 28)
    assert full_years(date(2024, 2, 29), date(2025, 2, 28)) == 1
    assert full_years(date(2016, 11, 24), date(2026, 11, 23)) == 9
    assert full_years(date(2016, 11, 23), date(2026, 11, 23)) == 10


def test_working_days_leave_out_weekends_and_holidays() -> None:
    friday = date(2026, 11, 20)
    assert add_working_days(friday, 1, OfficeHours()) == date(2026, 11, 23)
    assert add_working_days(friday, 1, OfficeHours(holidays=frozenset({date(2026, 11, 23)}))) == date(2026, 11, 24)
    assert add_working_days(friday, 0, OfficeHours()) == friday


def test_a_calendar_without_working_days_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no working day"):
        add_working_days(date(2026, 1, 1), 1, OfficeHours(days=frozenset()))


@pytest.mark.parametrize(("hour", "minute", "at_work"), [(7, 59, False), (8, 0, True), (17, 29, True), (17, 30, False)])
def test_office_hours_are_the_hospitals(hour: int, minute: int, at_work: bool) -> None:
    monday = datetime(2026, 11, 23, hour, minute, tzinfo=ZONE).astimezone(ZoneInfo("UTC"))
    assert in_office_hours(monday, OfficeHours(), ZONE) is at_work

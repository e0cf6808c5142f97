"""Days, years and working days. A day is the hospital's day; nothing here reads a clock."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, tzinfo

from app.engine.model import OfficeHours

PLAUSIBLE_YEARS = range(2000, 2201)
"""Years in which an operation may be planned, declared or reported; also keeps calendar arithmetic away from the ends of time."""

MAX_DAYS_SEARCHED = 3660
"""Ten years: a calendar without one working day in them is a mistake, not a reason to search on."""


def is_plausible(instant: datetime) -> bool:
    """Whether the instant can be one of an operation at all."""
    return instant.year in PLAUSIBLE_YEARS


def add_years(day: date, years: int) -> date:
    """The same day `years` later (or earlier); 29 February becomes 28 February where there is none."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return day.replace(year=day.year + years, day=28)


def full_years(since: date, until: date) -> int:
    """Full years between two days; negative when `since` is later."""
    years = until.year - since.year
    return years if add_years(since, years) <= until else years - 1


def is_working_day(day: date, hours: OfficeHours) -> bool:
    """Whether the medical affairs office works on that day."""
    return day.isoweekday() in hours.days and day not in hours.holidays


def add_working_days(day: date, count: int, hours: OfficeHours) -> date:
    """The day that is `count` working days after `day`, which itself does not count.

    Raises:
        ValueError: the calendar has no working days.
    """
    current = day
    for _ in range(MAX_DAYS_SEARCHED):
        if count <= 0:
            return current
        current += timedelta(days=1)
        if is_working_day(current, hours):
            count -= 1
    raise ValueError("the office hours leave no working day")


def closing_time(day: date, hours: OfficeHours, zone: tzinfo) -> datetime:
    """The instant at which the office closes on that day."""
    return datetime.combine(day, time(hours.closes // 60 % 24, hours.closes % 60), tzinfo=zone)


def in_office_hours(instant: datetime, hours: OfficeHours, zone: tzinfo) -> bool:
    """Whether the medical affairs office is at work at that instant; otherwise the duty office is (总值班)."""
    local = instant.astimezone(zone)
    return is_working_day(local.date(), hours) and hours.opens <= local.hour * 60 + local.minute < hours.closes

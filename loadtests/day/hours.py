"""The hours of the day: who is at work, and how many of them."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

BEGINS = 12
"""The day goes from noon to noon."""

HOURS = 24


class Work(StrEnum):
    """What somebody does all the time they are there."""

    ORDERS = "orders"
    LISTS = "lists"
    NOTICES = "notices"
    THEATRE = "theatre"
    EMERGENCIES = "emergencies"
    LOOKUPS = "look-ups"
    OFFICE = "office"


class Span(NamedTuple):
    """Up to an hour of the day, counted from noon of the first one (so 30 is 6 in the morning): the share of all users, and what they do."""

    until: float
    share: float
    works: frozenset[Work]


SPANS = (
    Span(17, 0.7, frozenset({Work.ORDERS, Work.EMERGENCIES, Work.LOOKUPS})),
    Span(22, 0.4, frozenset({Work.ORDERS, Work.EMERGENCIES, Work.LOOKUPS, Work.OFFICE})),
    Span(30, 0.2, frozenset({Work.EMERGENCIES, Work.LOOKUPS})),
    Span(32, 1.0, frozenset({Work.LISTS, Work.NOTICES, Work.EMERGENCIES, Work.LOOKUPS})),
    Span(36, 0.9, frozenset({Work.ORDERS, Work.NOTICES, Work.THEATRE, Work.EMERGENCIES, Work.LOOKUPS})),
)


def span_at(seconds: float, minutes: float) -> Span | None:
    """Which hours it is after so many seconds of a day that lasts so many minutes; None when the day is over."""
    hour = BEGINS + HOURS * seconds / (minutes * 60)
    return next((span for span in SPANS if hour < span.until), None)


def users_in(span: Span, most: int) -> int:
    """How many are at work: at least one for each kind of it."""
    return max(len(span.works), round(span.share * most))

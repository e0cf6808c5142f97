"""The hours of the day: who is at work, and how many of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

BEGINS = 12
"""The day goes from noon to noon."""

HOURS = 24


class Work(StrEnum):
    """What somebody does."""

    ORDERS = "orders"
    LISTS = "lists"
    NOTICES = "notices"
    THEATRE = "theatre"
    EMERGENCIES = "emergencies"
    LOOKUPS = "look-ups"
    OFFICE = "office"


class Span(NamedTuple):
    """Up to an hour of the day, counted from midnight before its noon (so 30 is 6 in the morning): the share of all users who are there, and how
    often each kind of work is what one of them does next."""

    until: float
    share: float
    works: Mapping[Work, int]


SPANS = (
    Span(17, 0.7, {Work.ORDERS: 70, Work.EMERGENCIES: 5, Work.LOOKUPS: 25}),
    Span(22, 0.4, {Work.ORDERS: 55, Work.EMERGENCIES: 10, Work.LOOKUPS: 30, Work.OFFICE: 5}),
    Span(30, 0.2, {Work.EMERGENCIES: 60, Work.LOOKUPS: 40}),
    Span(32, 1.0, {Work.LISTS: 20, Work.NOTICES: 55, Work.EMERGENCIES: 5, Work.LOOKUPS: 20}),
    Span(36, 0.9, {Work.THEATRE: 65, Work.ORDERS: 15, Work.NOTICES: 5, Work.EMERGENCIES: 3, Work.LOOKUPS: 12}),
)


def span_at(seconds: float, minutes: float) -> Span | None:
    """Which hours it is after so many seconds of a day that lasts so many minutes; None when the day is over."""
    hour = BEGINS + HOURS * seconds / (minutes * 60)
    return next((span for span in SPANS if hour < span.until), None)


def users_in(span: Span, most: int) -> int:
    """How many are there, at least one."""
    return max(1, round(span.share * most))


def next_work(span: Span, chance: random.Random) -> Work:
    """What somebody does next."""
    (work,) = chance.choices(list(span.works), list(span.works.values()))
    return work

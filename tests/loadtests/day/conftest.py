"""A hospital as the day reads it, made up."""

from __future__ import annotations

import random
from datetime import date, timedelta, timezone

import pytest

from loadtests.day.cases import Desk, Maker
from loadtests.day.hospital import Hospital, Lacking, Placed, Procedure

HOSPITAL = Hospital(
    today=date(2026, 11, 22),
    zone=timezone(timedelta(hours=8)),
    procedures=(
        Procedure("35.71001", "胸心外科", False, ("1", "2"), (Lacking("3", frozenset({"grant_expired"}), True),), "心内科"),
        Procedure("37.51001", "胸心外科", True, ("1",), (Lacking("4", frozenset({"grant_missing"}), False),), ""),
    ),
    anesthesiologists=(Placed("8", 2),),
    perfusionists=(Placed("9", 3),),
)


@pytest.fixture
def maker() -> Maker:
    return Maker(HOSPITAL, "RUN", random.Random(1))


@pytest.fixture
def desk(maker: Maker) -> Desk:
    return Desk(maker, random.Random(2))

"""Promises 1 and 2 where a node's time of day is stepped, forward and back, under load and while grants are flipped: leases don't go by it, nothing is
lost, and each record has the time of the node that made it, also where that goes back from one entry of the chain to the next."""

from __future__ import annotations

import random
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from loadtests.soak import Counts, Soak, switches_of
from tests.fleet import WAIT_SECONDS, Answer, Clients, Prepared, fleet, prepare
from tests.measured import Measured
from tests.promises.reckoning import MANY, Reckoning, Recorded
from tests.served import Served

SOURCE = Path(__file__).parents[1] / "stepped_clock.c"
STEPS = (3600, -3600, 1, -1, 0, 600, -600)
"""Seconds off the right time. All stay within the day, so that no privilege ends by them."""

EACH_SECONDS = 0.7
REVOKES = 45

CORRECTED_SECONDS = 0.5
"""By which the machine's own clock may be corrected during a test."""


class Span(NamedTuple):
    """When the clock stood off the right time by that many seconds; `begin` and `end` by the clock of the clients."""

    off: int
    begin: float
    end: float


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("prepared") / "hospital")


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shim") / "stepped_clock.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(made), str(SOURCE), "-ldl"], check=True)
    return made


class Clock:
    """The time of day of what is started with its environment."""

    def __init__(self, shim: Path, file: Path) -> None:
        self._file = file
        self.step(0)
        self.environment = {"LD_PRELOAD": str(shim), "CLOCK_OFFSET_FILE": str(file)}

    def step(self, seconds: int) -> None:
        """Set it off the right time by that much."""
        with self._file.open("r+b" if self._file.exists() else "wb") as out:
            out.write(struct.pack("=q", seconds))


def test_no_check_is_allowed_after_a_suspend_returned_whatever_the_clock_says(
    prepared: Prepared, shim: Path, tmp_path: Path, measured: Measured
) -> None:
    clock = Clock(shim, tmp_path / "offset")
    stop, steps = threading.Event(), 0

    def step() -> None:
        nonlocal steps
        while not stop.is_set():
            clock.step(STEPS[steps % len(STEPS)])
            steps += 1
            stop.wait(EACH_SECONDS)

    def enough(counts: Counts) -> bool:
        return counts.revokes >= REVOKES and counts.judged >= REVOKES and steps >= len(STEPS)

    with fleet(tmp_path / "fleet", prepared, environments=[clock.environment, {}]) as deployment:
        clock.step(3600)
        _wait_until_ahead(*(node.gateway for node in deployment.nodes))
        stepping = threading.Thread(target=step)
        stepping.start()
        try:
            seed = random.randrange(2**32)
            counts = Soak(deployment, switches_of(deployment), seed).run(enough, faults=False)
        finally:
            stop.set()
            stepping.join()
    assert (counts.violations, counts.wrong_denials) == (0, 0), (seed, counts)
    measured.add(
        "grants flipped while the clock of a node is stepped", checks=counts.checks, revokes=counts.revokes, violations=counts.violations
    )


def test_what_was_answered_is_recorded_once_whatever_the_clock_says(
    prepared: Prepared, shim: Path, tmp_path: Path, measured: Measured
) -> None:
    clock = Clock(shim, tmp_path / "offset")
    spans = []
    with fleet(tmp_path / "fleet", prepared, environments=[clock.environment, {}]) as deployment:
        gateways = [node.gateway for node in deployment.nodes]
        reckoning = Reckoning(gateways, deployment.database)
        with Clients(gateways, deployment.keys["his"], "R") as clients:
            clients.wait_for(MANY)
            reckoning.begin()
            for off in STEPS:
                clock.step(off)
                began = time.monotonic()
                for node in range(len(gateways)):
                    clients.wait_for(MANY, _normal_since(began, node))
                spans.append(Span(off, began, time.monotonic()))
            clock.step(0)
            reckoning.end()
            clients.wait_for(MANY, lambda a: a.decided and not a.degraded and a.node == 0)
            reckoning.wait_until_normal()
            clients.wait_for(MANY)
        figures = reckoning.settle(clients.answers)
        recorded = reckoning.recorded()
    wrong = [
        (span, answer)
        for span in spans
        for answer in _within(span, clients.answers)
        if not _agrees(span, answer, *recorded[answer.request_id])
    ]
    assert not wrong, wrong[0]
    measured.add("the clock of a node stepped by up to an hour, forward and back", **figures)


def _normal_since(began: float, node: int) -> Callable[[Answer], bool]:
    return lambda a: a.decided and not a.degraded and a.node == node and a.sent >= began


def _within(span: Span, answers: list[Answer]) -> list[Answer]:
    return [a for a in answers if a.decided and a.sent >= span.begin and a.answered <= span.end]


def _agrees(span: Span, answer: Answer, recorded: Recorded) -> bool:
    """Whether a check of that span was recorded with the time of its node when it was judged."""
    off = span.off if answer.node == 0 else 0
    judged = datetime.fromisoformat(recorded.at).timestamp() - off - (time.time() - time.monotonic())
    return answer.sent - CORRECTED_SECONDS <= judged <= answer.answered + CORRECTED_SECONDS


def _wait_until_ahead(stepped: Served, right: Served) -> None:
    give_up = time.monotonic() + WAIT_SECONDS
    while (_confirmed_at(stepped) - _confirmed_at(right)).total_seconds() < 3000:
        assert time.monotonic() < give_up, "the clock was not stepped"
        time.sleep(0.05)


def _confirmed_at(gateway: Served) -> datetime:
    return datetime.fromisoformat(gateway.call("GET", "/readyz").json["matrix"][0]["as_of"])

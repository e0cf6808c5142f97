"""Promise 2 where a node's time of day is stepped, forward and back, while grants are flipped and checked: leases don't go by it."""

from __future__ import annotations

import random
import struct
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from loadtests.soak import Counts, Soak, switches_of
from tests.fleet import WAIT_SECONDS, Prepared, fleet, prepare
from tests.measured import Measured
from tests.served import Served

SOURCE = Path(__file__).parents[1] / "stepped_clock.c"
STEPS = (3600, -3600, 1, -1, 0, 600, -600)
"""Seconds off the right time. All stay within the day, so that no privilege ends by them."""

EACH_SECONDS = 0.7
REVOKES = 45


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
    measured.add("the clock of a node stepped by up to an hour", checks=counts.checks, revokes=counts.revokes, violations=counts.violations)


def _wait_until_ahead(stepped: Served, right: Served) -> None:
    give_up = time.monotonic() + WAIT_SECONDS
    while (_confirmed_at(stepped) - _confirmed_at(right)).total_seconds() < 3000:
        assert time.monotonic() < give_up, "the clock was not stepped"
        time.sleep(0.05)


def _confirmed_at(gateway: Served) -> datetime:
    return datetime.fromisoformat(gateway.call("GET", "/readyz").json["matrix"][0]["as_of"])

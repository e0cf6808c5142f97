"""Promise 2 beyond one machine: two nodes of two workers on PostgreSQL and Redis, grants flipped and checked all the time, Redis killed and started in
the middle. A short run of `make soak`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from loadtests.soak import Counts, Soak, switches_of
from tests.fleet import Prepared, fleet, prepare
from tests.measured import Measured

REVOKES = 60
"""At least so many, and Redis killed in the meantime, however slow the machine is."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("prepared") / "hospital")


def test_no_check_that_starts_after_a_suspend_returned_is_allowed_on_any_node(
    prepared: Prepared, tmp_path: Path, measured: Measured
) -> None:
    def enough(counts: Counts) -> bool:
        return counts.revokes >= REVOKES and counts.judged >= REVOKES and counts.redis_killed > 0

    seed = random.randrange(2**32)
    with fleet(tmp_path, prepared) as deployment:
        counts = Soak(deployment, switches_of(deployment), seed).run(enough, faults=True)
    assert (counts.violations, counts.wrong_denials) == (0, 0), (seed, counts)
    measured.add("soak", checks=counts.checks, judged=counts.judged, revokes=counts.revokes, violations=counts.violations)

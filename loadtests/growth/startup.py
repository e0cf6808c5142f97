"""How long `surgate serve` takes from its start until /readyz answers that it is ready, by the number of grants in its store."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from loadtests.deployment import one_hospital, seed, serving


class Start(msgspec.Struct, frozen=True):
    """Starts of a service on a store of that many grants, in seconds, the fastest first. The embedded store, one worker."""

    grants: int
    seconds: list[float]


def measure(folder: Path, grants: int, starts: int) -> Start:
    """Start a service some times on a store that is made in that folder. What the store has is in the system's memory by then."""
    store = seed(folder, one_hospital(grants))
    taken = []
    for _ in range(starts):
        with serving(store, cores=sorted(os.sched_getaffinity(0))) as deployment:
            taken.append(deployment.ready_s)
    return Start(grants, sorted(taken))

"""Measure, and write the figures, the plots and the tables."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from loadtests.growth import engine, group, plots, report, startup
from loadtests.growth.figures import Figures, Measured, Series
from loadtests.growth.group import Group, Load
from loadtests.growth.plan import WHOLE, Axis, Plan
from loadtests.machine import surroundings

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT, FOLDER = DOCS / "performance.md", DOCS / "performance"

ALONE = Group(hospitals=1, grants=10_000)
GRANTS_EACH = 20_000
"""Grants of each of a group's hospitals."""

ROOM_FOR_ALL, ROOM_FOR_SOME = 1.1, 0.2
"""Shares of a group's grants that the worker has room for: all, with some to spare, or what the default has of 10,000,000."""


def measure(plan: Plan, groups: tuple[Group, ...], load: Load) -> Figures:
    """Everything, one after the other."""
    series = tuple(Series(axis.name, axis.label, axis.held, _points(plan, axis)) for axis in plan.axes)
    with tempfile.TemporaryDirectory() as folder:
        where = surroundings("each point of the engine pinned to one of them", Path(folder))
        starts = tuple(startup.measure(Path(folder) / str(grants), grants, plan.starts) for grants in plan.startup_grants)
        seen = group.measure(Path(folder), groups, load)
    return Figures(tuple(where), series, starts, load, tuple(seen))


def _points(plan: Plan, axis: Axis) -> tuple[Measured, ...]:
    found = []
    for point in sorted(axis.points, key=lambda one: one.x):
        began = time.monotonic()
        cost = engine.run(plan, point, traced=False)
        traced = engine.run(plan, point, traced=True).held_bytes if point.grants * point.hospitals <= plan.traced_grants else None
        found.append(Measured(point, cost, traced))
        print(f"{point.x:,} {axis.label}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return tuple(found)


def main() -> None:
    """Measure the whole plan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hospitals", type=int, default=50, help=f"hospitals of the group, of {GRANTS_EACH:,} grants each")
    hospitals = parser.parse_args().hospitals
    rooms = [round(hospitals * GRANTS_EACH * share) for share in (ROOM_FOR_ALL, ROOM_FOR_SOME)]
    figures = measure(WHOLE, (ALONE, *(Group(hospitals, GRANTS_EACH, room) for room in rooms)), Load())
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "growth.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
    plots.draw(FOLDER, figures)
    report.write(DOCUMENT, figures)


if __name__ == "__main__":
    main()

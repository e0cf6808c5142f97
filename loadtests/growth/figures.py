"""What a run measured, as it is kept in `docs/performance/growth.json`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from loadtests.growth.engine import KINDS, Cost
from loadtests.growth.group import Load, Seen
from loadtests.growth.plan import Point
from loadtests.growth.startup import Start

MIB = 2**20


class Measured(msgspec.Struct, frozen=True):
    """A point and what it costs. `cost.held_bytes` is by what the process grew; `traced_bytes` counted object by object, None where that was left out."""

    point: Point
    cost: Cost
    traced_bytes: int | None

    @property
    def mib(self) -> float:
        """What the hospitals hold: as counted, or else by what the process grew."""
        return (self.cost.held_bytes if self.traced_bytes is None else self.traced_bytes) / MIB


class Series(msgspec.Struct, frozen=True):
    """An axis with its points, the smallest first."""

    name: str
    label: str
    held: str
    points: tuple[Measured, ...]

    def medians(self, kind: str) -> Mapping[int, float]:
        """Median µs by size, where such orders were asked."""
        return {one.point.x: one.cost.paces[kind].median_us for one in self.points if kind in one.cost.paces}

    def p99s(self, kind: str) -> Mapping[int, float]:
        """p99 in µs by size, where such orders were asked."""
        return {one.point.x: one.cost.paces[kind].p99_us for one in self.points if kind in one.cost.paces}


class Figures(msgspec.Struct, frozen=True):
    """Everything of one run. `where`: the machine, in words. `groups`: the first is the hospital by itself that the others are held against."""

    where: tuple[str, ...]
    series: tuple[Series, ...]
    starts: tuple[Start, ...]
    load: Load
    groups: tuple[Seen, ...]


def growth(values: Mapping[int, float]) -> float:
    """The value at the largest size against that at the smallest."""
    return values[max(values)] / values[min(values)]


__all__ = ["KINDS", "MIB", "Figures", "Measured", "Series", "growth"]

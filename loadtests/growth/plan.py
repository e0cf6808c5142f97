"""What is varied, and over which sizes."""

from __future__ import annotations

import msgspec

from loadtests import worlds
from loadtests.worlds import DEPARTMENTS, Shape


class Point(msgspec.Struct, frozen=True):
    """One world that is measured. `x`: the size that its axis is about; `grants`: of each hospital."""

    x: int
    grants: int
    shape: Shape = worlds.LARGE
    hospitals: int = 1


class Axis(msgspec.Struct, frozen=True):
    """One size that is varied while the others stay. `label`: as it stands at the plot; `held`: what stays, in words."""

    name: str
    label: str
    held: str
    points: tuple[Point, ...]


TECHNOLOGIES = worlds.ENTRIES // worlds.TECHNOLOGY_EVERY
"""Technologies where another size is varied."""

CATALOG_GRANTS_EACH = 10
"""Grants of one surgeon where the catalog is varied: the smallest one has 20 codes for each department."""

CATALOG_OF_TECHNOLOGIES = 4_000
"""Entries where technologies are varied, of which half are one at the most."""


def _grants(sizes: tuple[int, ...]) -> Axis:
    held = f"One hospital, {worlds.ENTRIES:,} catalog entries, {TECHNOLOGIES} technologies; {worlds.GRANTS_EACH} grants for each surgeon."
    return Axis("grants", "grants", held, tuple(Point(size, size) for size in sizes))


def _staff(grants: int, grants_each: tuple[int, ...]) -> Axis:
    held = f"One hospital of {grants:,} grants, of which each surgeon holds from {max(grants_each)} down to {min(grants_each)}."
    return Axis("staff", "surgeons", held, tuple(Point(grants // each, grants, Shape(grants_each=each)) for each in grants_each))


def _hospitals(sizes: tuple[int, ...], grants: int) -> Axis:
    held = f"Hospitals of {grants:,} grants and {worlds.ENTRIES:,} catalog entries each, all in the memory of one process; orders go round among them."
    return Axis("hospitals", "hospitals", held, tuple(Point(size, grants, hospitals=size) for size in sizes))


def _catalog(sizes: tuple[int, ...], grants: int) -> Axis:
    held = f"One hospital of {grants:,} grants, {CATALOG_GRANTS_EACH} for each surgeon, and {TECHNOLOGIES} technologies."
    shapes = [Shape(size, size // TECHNOLOGIES, CATALOG_GRANTS_EACH) for size in sizes]
    return Axis("catalog", "catalog entries", held, tuple(Point(shape.entries, grants, shape) for shape in shapes))


def _technologies(sizes: tuple[int, ...], grants: int) -> Axis:
    held = f"One hospital of {grants:,} grants and {CATALOG_OF_TECHNOLOGIES:,} catalog entries."
    shapes = [Shape(CATALOG_OF_TECHNOLOGIES, CATALOG_OF_TECHNOLOGIES // size) for size in sizes]
    points = tuple(Point(size, grants, shape) for size, shape in zip(sizes, shapes, strict=True))
    return Axis("technologies", "technologies", held, points)


class Plan(msgspec.Struct, frozen=True):
    """How much is run. `asked`: orders of each kind in one round, other ones in each; `traced_grants`: up to so many, memory is counted object by
    object, which takes several times as long; `starts`: of each service."""

    axes: tuple[Axis, ...]
    asked: int = 2_000
    rounds: int = 7
    traced_grants: int = 100_000
    startup_grants: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    starts: int = 3


WHOLE = Plan(
    axes=(
        _grants((1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)),
        _staff(100_000, (100, 50, 20, 10, 5, 2, 1)),
        _hospitals((1, 3, 10, 30, 100), 10_000),
        _catalog((200, 600, 2_000, 6_000, 20_000), 100_000),
        _technologies((10, 40, 100, 400, 1_000, 2_000), 100_000),
    )
)
"""What `make growth` runs."""

TINY = Plan(
    axes=(
        _grants((1_000, 2_000)),
        _staff(2_000, (100, 10)),
        _hospitals((1, 2), 1_000),
        _catalog((len(DEPARTMENTS) * 20, 400), 1_000),
        _technologies((40, 2_000), 1_000),
    ),
    asked=20,
    rounds=2,
    startup_grants=(1_000,),
    starts=1,
)
"""Enough to see that everything works."""

"""The growth's measurement on a tiny plan, its tables, its plots. Nothing here looks at a time."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from loadtests.document import fill
from loadtests.growth import plots, report
from loadtests.growth.engine import Cost, Pace, Task, measure
from loadtests.growth.figures import Figures, Measured, Series, growth
from loadtests.growth.group import Group, Load, Seen
from loadtests.growth.plan import TINY, WHOLE, Axis, Point
from loadtests.growth.startup import Start

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"


@pytest.mark.parametrize("axis", TINY.axes, ids=lambda axis: axis.name)
def test_every_axis_is_measured(axis: Axis) -> None:
    cost = measure(Task(axis.points[-1], TINY.asked, TINY.rounds, traced=False))
    assert {"allowed", "denied"} <= cost.paces.keys()
    assert cost.staff > 0


def test_memory_is_counted_in_a_run_of_its_own() -> None:
    cost = measure(Task(Point(1_000, 1_000), TINY.asked, TINY.rounds, traced=True))
    assert cost.held_bytes > 0
    assert not cost.paces


def test_growth_is_the_last_against_the_first() -> None:
    assert growth({1_000: 8.0, 10: 2.0, 100: 3.0}) == 4.0


def test_every_place_of_the_document_is_filled(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    report.write(document, _figures())
    text = document.read_text(encoding="utf-8")
    assert "From first to last, 10 × as many: allowed 1.50 ×, denied 1.50 ×; memory 4.0 ×." in text
    assert "| 100,000 | 12 | 15.0 | 30.0 | 15.0 | 30.0 |  |  | 8.0 | 0.50 |" in text
    assert "| 10,000 | 2.00 | 1.00 | 3.00 |" in text
    assert "| 50 | 1,000,000 | 200,000 | 200 | 5.0 | 20.0 | 2.00 × | 25% |" in text
    report.write(document, _figures())
    assert document.read_text(encoding="utf-8") == text


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("<!-- growth-where: begin -->\n", encoding="utf-8")
    with pytest.raises(ValueError, match="growth-where"):
        fill(document, "growth-where", "")


def test_the_same_figures_give_the_same_plots(tmp_path: Path) -> None:
    figures = _figures()
    for folder in ("one", "two"):
        plots.draw(tmp_path / folder, msgspec.structs.replace(figures, series=figures.series[:1]))
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["growth-grants.png", "growth-grants.svg", "growth-startup.png", "growth-startup.svg"]
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


def test_figures_are_kept_whole() -> None:
    assert msgspec.json.decode(msgspec.json.encode(_figures()), type=Figures) == _figures()


def _figures() -> Figures:
    points = (_measured(10_000, 10.0, 2, traced=2), _measured(100_000, 15.0, 8, traced=None))
    alone, group = Group(1, 10_000), Group(50, 20_000, 200_000)
    return Figures(
        where=("a machine",),
        series=tuple(Series(axis.name, axis.label, axis.held, points) for axis in WHOLE.axes),
        starts=(Start(10_000, [1.0, 2.0, 3.0]),),
        load=Load(),
        groups=(_seen(alone, p99_ms=10.0, reads=0), _seen(group, p99_ms=20.0, reads=50)),
    )


def _measured(x: int, median_us: float, mib: int, traced: int | None) -> Measured:
    paces = {kind: Pace(median_us, median_us * 2, 100) for kind in ("allowed", "denied")}
    return Measured(Point(x, x), Cost(12, mib * 2**20, 0.5, paces), None if traced is None else traced * 2**20)


def _seen(group: Group, p99_ms: float, reads: int) -> Seen:
    return Seen(
        group,
        checks=200,
        failed=0,
        allowed=190,
        p50_ms=5.0,
        p99_ms=p99_ms,
        reads=reads,
        held_grants=group.grants,
        memory_mib=200.0,
        seed_s=3.0,
        read_ahead_s=1.0,
    )

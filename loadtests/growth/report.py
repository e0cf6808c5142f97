"""The figures as tables of `docs/performance.md`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from loadtests.document import fill
from loadtests.growth.figures import KINDS, Figures, Measured, Series, growth
from loadtests.growth.group import Load, Seen
from loadtests.growth.startup import Start

TARGET_GROUP = 1.3
"""p99 of a group's check, as many times that of a hospital by itself."""


def write(document: Path, figures: Figures) -> None:
    """Fill every place that the document has for them."""
    fill(document, "growth-where", "".join(f"- {line}\n" for line in figures.where))
    for series in figures.series:
        fill(document, f"growth-{series.name}", tables_of(series))
    fill(document, "growth-startup", startup_table(figures.starts))
    fill(document, "growth-group", group_table(figures.groups, figures.load))


def tables_of(series: Series) -> str:
    """An axis: its points, and how much the last one is of the first one."""
    head = (
        series.label,
        "people",
        "allowed: median µs",
        "p99",
        "denied: median µs",
        "p99",
        "of a technology: median µs",
        "memory, MiB",
        "process grew by, MiB",
        "compiling, s",
    )
    grew = {kind: growth(medians) for kind in KINDS if len(medians := series.medians(kind)) > 1}
    said = ", ".join(f"{_NAMES[kind]} {times:.2f} ×" for kind, times in grew.items())
    memory = growth({one.point.x: one.mib for one in series.points})
    sizes = growth({one.point.x: one.point.x for one in series.points})
    rows = [_row(one) for one in series.points]
    return f"{series.held}\n\n{_table(head, rows)}\nFrom first to last, {sizes:,.0f} × as many: {said}; memory {memory:,.1f} ×.\n"


_NAMES = {"allowed": "allowed", "denied": "denied", "technology": "of a technology"}


def _row(one: Measured) -> Sequence[str]:
    paces = one.cost.paces
    both = [text for kind in ("allowed", "denied") for text in (f"{paces[kind].median_us:.1f}", f"{paces[kind].p99_us:.1f}")]
    technology = f"{paces['technology'].median_us:.1f}" if "technology" in paces else ""
    counted = f"{one.mib:,.1f}" if one.traced_bytes is not None else ""
    grew = one.cost.held_bytes / 2**20
    return (f"{one.point.x:,}", f"{one.cost.staff:,}", *both, technology, counted, f"{grew:,.1f}", f"{one.cost.compile_s:.2f}")


def startup_table(starts: Iterable[Start]) -> str:
    """Start-up, by grants."""
    rows = [(f"{s.grants:,}", f"{median(s.seconds):.2f}", f"{s.seconds[0]:.2f}", f"{s.seconds[-1]:.2f}") for s in starts]
    return _table(("grants", "ready after, s (median)", "least", "most"), rows)


def group_table(groups: Sequence[Seen], load: Load) -> str:
    """The groups, each against the first one."""
    head = (
        "hospitals",
        "grants in all",
        "memory bound, grants",
        "checks",
        "p50 ms",
        "p99 ms",
        "p99 against the first",
        "found their hospital not in memory",
        "grants in memory",
        "worker, MiB",
        "written in, s",
        "read ahead in, s",
    )
    said = f"{load.rate:g} checks a second for {load.seconds:g} s, after {load.warm_seconds:g} s that do not count; one worker.\n\n"
    return (
        f"{said}{_table(head, [_group_row(seen, groups[0]) for seen in groups])}\nThe target is p99 ≤ {TARGET_GROUP} × that of the first.\n"
    )


def _group_row(seen: Seen, first: Seen) -> Sequence[str]:
    group = seen.group
    return (
        f"{group.hospitals:,}",
        f"{group.hospitals * group.grants:,}",
        f"{group.memory_grants:,}",
        f"{seen.checks:,}" + (f" ({seen.failed} failed)" if seen.failed else ""),
        f"{seen.p50_ms:.1f}",
        f"{seen.p99_ms:.1f}",
        f"{seen.p99_ms / first.p99_ms:.2f} ×",
        f"{seen.reads / seen.checks:.0%}",
        f"{seen.held_grants:,}",
        f"{seen.memory_mib:,.0f}",
        f"{seen.seed_s:.0f}",
        f"{seen.read_ahead_s:.0f}",
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)

"""The figures as plots, each as SVG and as PNG; of the same figures always the same files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from loadtests.growth.figures import KINDS, Figures, Series
from loadtests.growth.startup import Start

mpl.use("Agg")

COLOURS = {"allowed": "#1b6ca8", "denied": "#c0392b", "technology": "#7d3c98"}
MEMORY_COLOUR = "#2e7d32"


def draw(folder: Path, figures: Figures) -> None:
    """A pair of files for each axis and one for the start-up."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "surgate", "axes.grid": True, "grid.alpha": 0.3}):
        for series in figures.series:
            _save(_of_series(series), folder / f"growth-{series.name}")
        _save(_of_starts(figures.starts), folder / "growth-startup")


def _of_series(series: Series) -> Figure:
    figure = Figure(figsize=(13, 4), layout="constrained")
    decision, memory, compiling = figure.subplots(1, 3)
    for kind in KINDS:
        _line(decision, series.medians(kind), COLOURS[kind], f"{kind}, median")
        if kind != "technology":
            _line(decision, series.p99s(kind), COLOURS[kind], f"{kind}, p99", style=":")
    _axes(decision, series.label, "time per decision", "µs")
    decision.legend(fontsize=8)
    _line(memory, {one.point.x: one.mib for one in series.points}, MEMORY_COLOUR)
    _axes(memory, series.label, "memory of the compiled hospitals", "MiB")
    _line(compiling, {one.point.x: one.cost.compile_s for one in series.points}, MEMORY_COLOUR)
    _axes(compiling, series.label, "compiling them", "s")
    figure.suptitle(f"Growth with the number of {series.label}")
    return figure


def _of_starts(starts: Sequence[Start]) -> Figure:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    _line(axes, {one.grants: median(one.seconds) for one in starts}, MEMORY_COLOUR)
    _axes(axes, "grants", "start of the process until ready", "s")
    return figure


def _line(axes: Axes, values: Mapping[int, float], colour: str, label: str = "", style: str = "-") -> None:
    if values:
        axes.plot(list(values), list(values.values()), style, color=colour, marker="o", markersize=4, label=label)


def _axes(axes: Axes, label: str, title: str, unit: str) -> None:
    """Both logarithmic, with room for at least a decade upwards, so that noise does not look like growth."""
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel=unit, title=title)
    low, high = axes.get_ylim()
    if high < low * 10:
        middle = (low * high) ** 0.5
        axes.set_ylim(middle / 10**0.5, middle * 10**0.5)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=100)

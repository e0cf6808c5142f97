"""The numbers of one worker, in memory that the other workers of the service can read, so that any of them answers for all.

Per worker slot there are two files: the numbers (doubles, mapped) and what they are (one JSON line per series, appended when the series is
first used). A number is written in place, which costs about as much as an item of a list; it survives the worker, so that a counter never falls
when one is killed, and the worker that follows in the slot goes on from it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from app.telemetry.families import FAMILIES, Family

CELLS = 64 * 1024
"""Doubles per worker. The files are sparse: what is not used takes no room. Series beyond it are counted nowhere."""

_BY_NAME = {family.name: family for family in FAMILIES}


class Series(NamedTuple):
    """Where a series' numbers are. A histogram has one per bound, one for what lies above, and the sum."""

    name: str
    labels: tuple[str, ...]
    at: int
    width: int


class Memory:
    """One worker's numbers. `folder` None: of this process alone."""

    def __init__(self, folder: Path | None = None, slot: int = 0) -> None:
        self.slot = slot
        self._names: Path | None = None
        self._known: dict[tuple[str, tuple[str, ...]], Series] = {}
        self._next = 0
        descriptor = -1
        if folder is not None:
            self._names = folder / f"worker-{slot}.names"
            descriptor = os.open(folder / f"worker-{slot}.values", os.O_RDWR | os.O_CREAT, 0o600)
            os.ftruncate(descriptor, CELLS * 8)
            for series in read_names(self._names):
                self._remember(series)
        self.values = memoryview(mmap.mmap(descriptor, CELLS * 8)).cast("d")
        if descriptor >= 0:
            os.close(descriptor)
        self._clear_gauges()

    def cells(self, family: Family, labels: tuple[str, ...]) -> memoryview[float]:
        """A series' numbers, to be written in place."""
        series = self._known.get((family.name, labels))
        if series is None:
            width = len(family.bounds) + 2 if family.kind == "histogram" else 1
            if self._next + width > CELLS:
                return memoryview(bytearray(8 * width)).cast("d")
            series = Series(family.name, labels, self._next, width)
            self._append(series)
            self._remember(series)
        return self.values[series.at : series.at + series.width]

    def read(self) -> Iterator[tuple[Series, list[float]]]:
        """Every series and its numbers now."""
        for series in list(self._known.values()):
            yield series, list(self.values[series.at : series.at + series.width])

    def _remember(self, series: Series) -> None:
        self._known[series.name, series.labels] = series
        self._next = max(self._next, series.at + series.width)

    def _append(self, series: Series) -> None:
        if self._names is not None:
            with self._names.open("ab") as file:
                file.write(msgspec.json.encode(series) + b"\n")

    def _clear_gauges(self) -> None:
        for series in self._known.values():
            if _BY_NAME[series.name].kind in ("gauge", "shared"):
                self.values[series.at] = 0.0


def read_names(file: Path) -> Iterator[Series]:
    """The series that a worker has written down; a line that is not whole yet is left out."""
    content = file.read_bytes() if file.exists() else b""
    for line in content.splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield msgspec.json.decode(line, type=Series)


def read_worker(names: Path) -> Iterator[tuple[Series, list[float]]]:
    """Every series of a worker of the service, and its numbers now."""
    with names.with_suffix(".values").open("rb") as file, mmap.mmap(file.fileno(), CELLS * 8, access=mmap.ACCESS_READ) as mapped:
        values = memoryview(mapped).cast("d")
        try:
            for series in read_names(names):
                if series.name in _BY_NAME:
                    yield series, list(values[series.at : series.at + series.width])
        finally:
            values.release()

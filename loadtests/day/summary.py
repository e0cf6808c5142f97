"""What was seen of the day: counted while it goes, told as a table at its end."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

PRINTED = 20
"""Wrong answers, and errors, that are printed at once; all are counted."""

KEPT = 200
"""Texts of each that go into the file."""


class Kind(NamedTuple):
    """A row of the table: the document or what else was sent, and how."""

    checkpoint: str
    what: str


@dataclass
class Seen:
    """What came of one kind. `milliseconds`: from sending to the whole answer, of every request that was answered as it should be; a batch is one.
    `shed`: 503 with Retry-After, which is waited for and sent again; `errors`: any other answer than the one due, or none; `wrong`: answered, but
    not what is right; `degraded`: judged from memory of the database."""

    milliseconds: list[float] = field(default_factory=list)
    errors: int = 0
    shed: int = 0
    wrong: int = 0
    degraded: int = 0


class Row(NamedTuple):
    """A kind as it is told, times in milliseconds; None where nothing came back."""

    checkpoint: str
    what: str
    requests: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None
    errors: int
    shed: int
    wrong: int
    degraded: int


COLUMNS = (
    "checkpoint",
    "kind",
    "requests",
    "p50, ms",
    "p95, ms",
    "p99, ms",
    "max, ms",
    "errors",
    "shed (503)",
    "wrong answers",
    "degraded",
)


class Tally:
    """Counts everything. What is wrong is also said at once, loudly."""

    def __init__(self) -> None:
        self._seen: dict[Kind, Seen] = {}
        self.wrong: list[str] = []
        self.errors: list[str] = []

    def answered(self, kind: Kind, milliseconds: float, *, degraded: bool = False) -> None:
        seen = self._of(kind)
        seen.milliseconds.append(milliseconds)
        seen.degraded += degraded

    def shed(self, kind: Kind) -> None:
        self._of(kind).shed += 1

    def failed(self, kind: Kind, text: str) -> None:
        """An error: no answer, or another status than the one due."""
        self._of(kind).errors += 1
        _tell(self.errors, f"ERROR {kind.checkpoint} {kind.what}: {text}")

    def judged(self, kind: Kind, wrong: Sequence[str]) -> None:
        """An answer was looked at; `wrong` is empty where it is right."""
        if wrong:
            self._of(kind).wrong += 1
            _tell(self.wrong, f"WRONG ANSWER {kind.checkpoint} {kind.what}: {'; '.join(wrong)}")

    @property
    def rows(self) -> list[Row]:
        return [_row(kind, self._seen[kind]) for kind in sorted(self._seen)]

    @property
    def clean(self) -> bool:
        """Whether something was answered, without an error and without a wrong answer."""
        return bool(self._seen) and not any(seen.errors or seen.wrong for seen in self._seen.values())

    def _of(self, kind: Kind) -> Seen:
        return self._seen.setdefault(kind, Seen())


@dataclass(frozen=True)
class Run:
    """How the day was run. `reached`: checks of the cases that were answered, by checkpoint."""

    url: str
    began: str
    minutes: float
    users: int
    seed: int
    reached: Mapping[str, int]


def markdown(run: Run, tally: Tally) -> str:
    """The table, with how it was made above it and what went wrong below."""
    lines = [
        f"A day in a hospital against {run.url}, begun {run.began}: 24 hours in {run.minutes:g} min, at most {run.users} users, seed {run.seed}.",
        f"Checks answered: {', '.join(f'{count} {name}' for name, count in run.reached.items()) or 'none'}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * 2}{'--:|' * (len(COLUMNS) - 2)}",
        *(f"| {' | '.join(_cell(value) for value in row)} |" for row in tally.rows),
    ]
    for title, texts in (("Wrong answers", tally.wrong), ("Errors", tally.errors)):
        if texts:
            lines += ["", f"{title}, {min(len(texts), KEPT)} of {len(texts)}:", "", *(f"- {text}" for text in texts[:KEPT])]
    return "\n".join([*lines, ""])


def document(run: Run, tally: Tally) -> dict[str, Any]:
    """The same as values."""
    rows = [row._asdict() for row in tally.rows]
    return asdict(run) | {"clean": tally.clean, "rows": rows, "wrong": tally.wrong[:KEPT], "errors": tally.errors[:KEPT]}


def write(file: Path, run: Run, tally: Tally) -> None:
    """JSON where the file's name ends in .json, else Markdown."""
    text = json.dumps(document(run, tally), ensure_ascii=False, indent=2) + "\n" if file.suffix == ".json" else markdown(run, tally)
    file.write_text(text, encoding="utf-8")


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of all does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _row(kind: Kind, seen: Seen) -> Row:
    ordered = sorted(seen.milliseconds)
    p50, p95, p99, top = (percentile(ordered, share) if ordered else None for share in (0.5, 0.95, 0.99, 1.0))
    return Row(*kind, len(ordered), p50, p95, p99, top, seen.errors, seen.shed, seen.wrong, seen.degraded)


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)


def _tell(texts: list[str], text: str) -> None:
    texts.append(text)
    if len(texts) <= PRINTED:
        print(text, file=sys.stderr, flush=True)

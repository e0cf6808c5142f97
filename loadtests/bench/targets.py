"""What is to be reached, as a table: measured, target, met or not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from loadtests.bench.figures import number, table


class Target(NamedTuple):
    """One of them. `measured` None: it is measured elsewhere, as `note` says."""

    what: str
    measured: float | None
    limit: float
    at_least: bool
    unit: str
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.measured is not None and (self.measured >= self.limit if self.at_least else self.measured <= self.limit)


def targets_table(targets: Iterable[Target]) -> str:
    """The table."""
    return f"## Targets\n\n{table(('what', 'measured', 'target', ''), map(_row, targets))}"


def _row(target: Target) -> tuple[str, str, str, str]:
    limit = f"{'≥' if target.at_least else '≤'} {target.limit:g} {target.unit}"
    if target.measured is None:
        return target.what, "", limit, target.note
    note = f" ({target.note})" if target.note else ""
    return target.what, f"{number(target.measured)} {target.unit}{note}", limit, "met" if target.met else "not met"

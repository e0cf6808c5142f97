"""A plan as it is answered and logged."""

from __future__ import annotations

from typing import Any

from app.engine.model import Message, Value
from app.imports.plan import Plan
from app.imports.steps import Action, Counts, Loosening, Mode, Step, counted, differing, shown

MAX_ROWS = 500
"""Rows of a diff; the counts are of all."""


class RowDiff(Value, frozen=True):
    """One row. `before` and `after` hold what differs; all of it where the row is new or goes. `row` is its number in the file."""

    table: str
    action: Action
    subject: str
    row: int | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    why: Message | None


class Diff(Value, frozen=True):
    """What an import did, or, `applied` False, would do. `counts` are of all tables together, `tables` of each that the file brings.
    `matrix_version`: the one that holds afterwards. Unchanged rows are only counted; `rows_left_out` are beyond the most that are listed."""

    kind: str
    mode: Mode
    hospital: str
    made: bool
    dry_run: bool
    applied: bool
    counts: Counts
    tables: dict[str, Counts]
    rows: tuple[RowDiff, ...]
    rows_left_out: int
    loosening: tuple[Loosening, ...]
    needs_confirm: bool
    warnings: tuple[str, ...]
    matrix_version: int


def diff_of(plan: Plan, hospital: str, *, made: bool, applied: bool, version: int) -> Diff:
    """The plan's diff."""
    listed = [step for step in plan.steps if step.action is not Action.UNCHANGED]
    return Diff(
        kind=plan.kind,
        mode=plan.mode,
        hospital=hospital,
        made=made,
        dry_run=not applied,
        applied=applied,
        counts=counted(plan.steps),
        tables={table: counted(step for step in plan.steps if step.table == table) for table in plan.tables},
        rows=tuple([_row(step) for step in listed[:MAX_ROWS]]),
        rows_left_out=max(len(listed) - MAX_ROWS, 0),
        loosening=plan.loosening,
        needs_confirm=bool(plan.loosening),
        warnings=tuple([str(warning) for warning in plan.warnings]),
        matrix_version=version,
    )


def _row(step: Step) -> RowDiff:
    before, after = differing(shown(step.before), shown(step.after))
    return RowDiff(step.table, step.action, step.subject, step.row, before, after, step.why)

"""Overrides as they are kept: the override with its state now, and each step of its life with who, when and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import chain, outbox, tables


class Opening(NamedTuple):
    """An override at its beginning, opened with the decision that it belongs to. Instants are RFC 3339 in UTC.

    `participants`: the staff numbers of all who took part, none of whom reviews it; `operators` and `codes`: who was let through, for what.
    """

    id: str
    decision_id: str
    case_id: str
    at: str
    day: str
    hour: int
    department: str
    declared_by: str
    reason_code: str
    reason: str
    reported_to: str
    reported_at: str | None
    late: bool
    review_due_at: str
    flags: tuple[str, ...]
    participants: tuple[str, ...]
    operators: tuple[str, ...]
    codes: tuple[str, ...]
    key_id: str
    notices: tuple[outbox.Notice, ...] = ()


class Step(NamedTuple):
    """One step. `at`: when it was done, as told; `recorded_at`: when it came in."""

    override_id: str
    action: str
    state: str
    by: str
    at: str
    recorded_at: str
    key_id: str = ""
    to: str = ""
    note: str = ""
    detail: Any = None


async def open_all(connection: AsyncConnection, hospital: str, openings: Sequence[Opening]) -> None:
    """Open overrides within the transaction that records their decisions, after these."""
    for opening in openings:
        await connection.execute(tables.overrides.insert().values(_row(hospital, opening)))
        steps = [
            Step(opening.id, "open", "pending_report", opening.declared_by, opening.at, opening.at, opening.key_id, detail=opening.flags)
        ]
        if opening.reported_at is not None:
            steps.append(
                Step(
                    opening.id,
                    "report",
                    "reported",
                    opening.declared_by,
                    opening.reported_at,
                    opening.at,
                    opening.key_id,
                    opening.reported_to,
                )
            )
        for step in steps:
            await add_step(connection, hospital, step)
        await outbox.enqueue(connection, hospital, opening.id, opening.notices, opening.at)


async def add_step(connection: AsyncConnection, hospital: str, step: Step) -> None:
    """Keep a step, and append it to the chain."""
    row = {"hospital": hospital} | step._asdict() | {"detail": msgspec.json.encode(step.detail)}
    made = (await connection.execute(tables.override_steps.insert().values(row))).inserted_primary_key
    assert made is not None
    link = chain.Link("override", str(made[0]), step.recorded_at, chain.form_of(tables.override_steps, row))
    await chain.append(connection, hospital, [link])


def _row(hospital: str, opening: Opening) -> dict[str, Any]:
    reported = opening.reported_at is not None
    return {
        "id": opening.id,
        "hospital": hospital,
        "decision_id": opening.decision_id,
        "case_id": opening.case_id,
        "at": opening.at,
        "day": opening.day,
        "hour": opening.hour,
        "department": opening.department,
        "declared_by": opening.declared_by,
        "reason_code": opening.reason_code,
        "reason": opening.reason,
        "state": "reported" if reported else "pending_report",
        "reported": reported,
        "late": opening.late,
        "review_due_at": opening.review_due_at,
        "flags": msgspec.json.encode(opening.flags),
        "participants": msgspec.json.encode(opening.participants),
        "operators": msgspec.json.encode(opening.operators),
        "codes": msgspec.json.encode(opening.codes),
    }

"""What happened in a hospital, entry by entry of its chain, with what events tell of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import Message
from app.store import tables


class DecisionFacts(msgspec.Struct, frozen=True):
    """A decision. `reasons`, `operators` are sorted."""

    decision_id: str
    case_id: str
    checkpoint: str
    decision: str
    level: int | None
    department: str
    operators: tuple[str, ...]
    reasons: tuple[str, ...]
    message: Message
    at: str


class StepFacts(msgspec.Struct, frozen=True):
    """A step of an override's life. `state` is the state after it; no word of what people wrote."""

    override_id: str
    decision_id: str
    case_id: str
    action: str
    state: str
    by: str
    department: str
    operators: tuple[str, ...]
    codes: tuple[str, ...]
    reason_code: str
    late: bool
    flags: tuple[str, ...]
    review_due_at: str
    at: str


class ChangeFacts(msgspec.Struct, frozen=True):
    """A change of the matrix. `version`: the matrix version that it gave."""

    kind: str
    subject: str
    action: str
    version: int
    at: str


Facts: TypeAlias = DecisionFacts | StepFacts | ChangeFacts


class Happened(NamedTuple):
    """An entry of the chain. `client`: whose check it was, or belongs to. `facts`: None for what is no event, such as a reading."""

    number: int
    client: str | None
    facts: Facts | None


class _Answer(msgspec.Struct, frozen=True):
    """What an event tells of a decision's answer."""

    level: int | None
    message: Message


async def page(connection: AsyncConnection, hospital: str, after: int, limit: int) -> list[Happened]:
    """What happened after a number, oldest first. Numbers that are missing before or in it are archived."""
    log = tables.chain
    query = select(log.c.number, log.c.kind, log.c.ref).where(log.c.hospital == hospital, log.c.number > after)
    rows = (await connection.execute(query.order_by(log.c.number).limit(limit))).all()
    refs: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        refs[row.kind].append(row.ref)
    found: dict[tuple[str, str], tuple[str | None, Facts]] = {}
    found |= await _decisions(connection, refs["decision"])
    found |= await _steps(connection, [int(ref) for ref in refs["override"]])
    found |= await _changes(connection, [int(ref) for ref in refs["change"]])
    return [Happened(row.number, *found.get((row.kind, row.ref), (None, None))) for row in rows]


async def _decisions(connection: AsyncConnection, ids: Sequence[str]) -> Mapping[tuple[str, str], tuple[str, Facts]]:
    if not ids:
        return {}
    terms: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    table = tables.decision_terms
    query = select(table.c.decision_id, table.c.kind, table.c.value).where(table.c.decision_id.in_(ids))
    for decision_id, kind, value in await connection.execute(query):
        terms[decision_id][kind].append(value)
    made = {}
    for row in await connection.execute(select(tables.decisions).where(tables.decisions.c.id.in_(ids))):
        answer, mine = msgspec.json.decode(row.answer, type=_Answer), terms[row.id]
        made["decision", row.id] = (
            row.client,
            DecisionFacts(
                decision_id=row.id,
                case_id=row.case_id,
                checkpoint=row.checkpoint,
                decision=row.decision,
                level=answer.level,
                department="".join(mine["department"]),
                operators=tuple(sorted(mine["operator"])),
                reasons=tuple(sorted(mine["reason"])),
                message=answer.message,
                at=row.at,
            ),
        )
    return made


async def _steps(connection: AsyncConnection, numbers: Sequence[int]) -> Mapping[tuple[str, str], tuple[str, Facts]]:
    if not numbers:
        return {}
    step, override, decision = tables.override_steps, tables.overrides, tables.decisions
    query = (
        select(
            step.c.seq, step.c.action, step.c.state.label("state_after"), step.c.by, step.c.at.label("done_at"), override, decision.c.client
        )
        .join(override, override.c.id == step.c.override_id)
        .join(decision, decision.c.id == override.c.decision_id)
        .where(step.c.seq.in_(numbers))
    )
    return {
        ("override", str(row.seq)): (
            row.client,
            StepFacts(
                override_id=row.id,
                decision_id=row.decision_id,
                case_id=row.case_id,
                action=row.action,
                state=row.state_after,
                by=row.by,
                department=row.department,
                operators=msgspec.json.decode(row.operators, type=tuple[str, ...]),
                codes=msgspec.json.decode(row.codes, type=tuple[str, ...]),
                reason_code=row.reason_code,
                late=row.late,
                flags=msgspec.json.decode(row.flags, type=tuple[str, ...]),
                review_due_at=row.review_due_at,
                at=row.done_at,
            ),
        )
        for row in await connection.execute(query)
    }


async def _changes(connection: AsyncConnection, numbers: Sequence[int]) -> Mapping[tuple[str, str], tuple[None, Facts]]:
    if not numbers:
        return {}
    log = tables.changes
    query = select(log.c.seq, log.c.kind, log.c.subject, log.c.action, log.c.at).where(log.c.seq.in_(numbers))
    return {
        ("change", str(row.seq)): (None, ChangeFacts(row.kind, row.subject, row.action, row.seq, row.at))
        for row in await connection.execute(query)
    }

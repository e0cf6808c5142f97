"""The record as it is read: one decision, and lists of them. Every reading is itself recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi import Query as QueryOf
from pydantic import Field

from app.api.answers import RecordNote
from app.api.http import Page, answer, cursor_of, gateway_of, position_of, reader
from app.api.queries import InstantOrDay, Paged, Query, begin_of, canonical_code, end_of
from app.authorize import CONFIRM
from app.engine.codes import normalize_text
from app.engine.model import Checkpoint, Verdict
from app.engine.reasons import PRECEDENCE
from app.errors import BadInput, FieldError, NotFound
from app.events.view import SEES_ALL
from app.store import record
from app.store.keys import Key, Role

router = APIRouter(tags=["record"])

READERS = (Role.HIS, Role.ANESTHESIA, Role.MEDICAL_AFFAIRS, Role.AUDITOR)

Text = Annotated[str | None, Field(min_length=1, max_length=64)]


class DecisionFilters(Paged):
    """What decisions are looked for by; all that is given must hold."""

    case_id: Text = None
    operator: Text = None
    code: Annotated[str | None, Field(min_length=1, max_length=64, description="In any spelling")] = None
    decision: Verdict | None = None
    reason: Annotated[str | None, Field(json_schema_extra={"enum": sorted(PRECEDENCE)})] = None
    checkpoint: Checkpoint | None = None
    department: Text = None
    emergency_to_confirm: Annotated[Literal["true"] | None, Field(description="Those that urgency alone relaxed")] = None
    since: InstantOrDay | None = None
    until: InstantOrDay | None = None


@router.get("/v1/decisions", summary="Decisions, newest first")
async def list_decisions(request: Request, asked: Annotated[DecisionFilters, QueryOf()], key: Annotated[Key, reader(*READERS)]) -> Response:
    gateway = gateway_of(request)
    live = await gateway.live.hospital(key.hospital)
    filters = _filters(asked, key, live.hospital.time_zone, live.compiled.catalog.department)
    after = _after(asked.cursor)
    async with gateway.database.read() as connection:
        found = await record.newest(connection, key.hospital, filters, after, asked.limit + 1)
    page = found[: asked.limit]
    async with gateway.database.write(None) as connection:
        subject = msgspec.json.encode(filters).decode()
        await record.note_read(connection, key, "decisions", subject, [one.id for one in page])
    last = page[-1] if len(found) > len(page) else None
    return answer(Page([as_sent(one) for one in page], None if last is None else cursor_of((last.at, last.id))))


@router.get("/v1/decisions/{decision_id}", summary="One decision with the order as it was received")
async def get_decision(
    request: Request, decision_id: str, _asked: Annotated[Query, QueryOf()], key: Annotated[Key, reader(*READERS)]
) -> Response:
    gateway = gateway_of(request)
    async with gateway.database.read() as connection:
        found = await record.one(connection, key.hospital, decision_id, _only_client(key))
    if found is None:
        raise NotFound("没有此核查记录 / no such decision")
    async with gateway.database.write(None) as connection:
        await record.note_read(connection, key, "decision", decision_id, [found.id])
    return answer(as_sent(found, with_order=True))


def as_sent(one: record.Recorded, *, with_order: bool = False) -> msgspec.Raw:
    """The answer byte for byte as it was sent, with what is kept beside it (and the order as it was received) as further fields."""
    at = datetime.fromisoformat(one.at)
    note = RecordNote(at, one.client, one.key_id, one.matrix_version, one.engine_version, one.policy_version)
    more = b',"record":' + msgspec.json.encode(note)
    if with_order:
        more += b',"order":' + one.order
    return msgspec.Raw(one.answer.rstrip()[:-1] + more + b"}")


def _only_client(key: Key) -> str | None:
    """The client to whose decisions a key is bound; None where it reads all."""
    return None if key.roles & SEES_ALL else key.client


def _filters(asked: DecisionFilters, key: Key, zone: Any, department: Any) -> record.Filters:
    if asked.reason is not None and asked.reason not in PRECEDENCE:
        raise BadInput(
            [FieldError("reason", "unknown_reason", f"未知的原因代码 / unknown reason; known are {', '.join(sorted(PRECEDENCE))}")]
        )
    terms = {
        "operator": None if asked.operator is None else normalize_text(asked.operator),
        "code": None if asked.code is None else canonical_code(asked.code),
        "confirm": None if asked.emergency_to_confirm is None else CONFIRM,
        "reason": asked.reason,
        "department": None if asked.department is None else department(asked.department),
    }
    return record.Filters(
        case_id=None if asked.case_id is None else normalize_text(asked.case_id),
        decision=asked.decision,
        checkpoint=asked.checkpoint,
        client=_only_client(key),
        terms=tuple((kind, value) for kind, value in terms.items() if value is not None),
        since=begin_of(asked.since, zone),
        until=end_of(asked.until, zone),
    )


def _after(cursor: str | None) -> tuple[str, str] | None:
    position: Sequence[Any] | None = position_of(cursor)
    if position is None:
        return None
    if len(position) != 2 or not all(isinstance(p, str) for p in position):
        raise BadInput([FieldError("cursor", "invalid", "无效的游标 / not a cursor of this list")])
    return position[0], position[1]

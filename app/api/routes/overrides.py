"""The review queue: overrides listed and shown, and the steps of their life. Every reading is itself recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi import Query as QueryOf
from pydantic import Field

from app.api.http import Page, answer, caller, cursor_of, gateway_of, position_of, read_json, reader
from app.api.overrides import OverrideInFull, Report, Review, Takeover, actor_of, override_in_full, override_shown, told_to, words
from app.api.queries import InstantOrDay, Paged, begin_of, end_of
from app.engine.codes import normalize_text
from app.errors import BadInput, FieldError, NotFound
from app.overrides.life import OverrideState
from app.overrides.patterns import FLAGS
from app.overrides.steps import participants_of
from app.overrides.substitutes import substitutes_of
from app.store import overrides as store
from app.store import record
from app.store.keys import Key, Role

router = APIRouter(prefix="/v1/overrides", tags=["overrides"])

Office = Annotated[Key, caller(Role.ANESTHESIA, Role.MEDICAL_AFFAIRS)]
Reader = Annotated[Key, reader(Role.ANESTHESIA, Role.MEDICAL_AFFAIRS)]
Reviewer = Annotated[Key, caller(Role.MEDICAL_AFFAIRS)]
Text = Annotated[str | None, Field(min_length=1, max_length=64)]
YesOrNo = Literal["true", "false"] | None


class OverrideFilters(Paged):
    """What overrides are looked for by; all that is given must hold."""

    state: OverrideState | None = None
    overdue: Annotated[YesOrNo, Field(description="Whether the review should be closed by now and is not")] = None
    late: Annotated[YesOrNo, Field(description="Whether it was declared or received after the planned start")] = None
    department: Annotated[str | None, Field(min_length=1, max_length=64, description="By any name that the hospital knows it by")] = None
    operator: Annotated[str | None, Field(min_length=1, max_length=64, description="Staff number of somebody who was let through")] = None
    case_id: Text = None
    flag: Annotated[str | None, Field(json_schema_extra={"enum": list(FLAGS)})] = None
    since: InstantOrDay | None = None
    until: InstantOrDay | None = None


@router.get("", summary="Overrides, newest first")
async def list_overrides(request: Request, asked: Annotated[OverrideFilters, QueryOf()], key: Reader) -> Response:
    gateway = gateway_of(request)
    live = await gateway.live.hospital(key.hospital)
    filters = _filters(asked, live.hospital.time_zone, live.compiled.catalog.department)
    after, now = _after(asked.cursor), _now()
    async with gateway.database.read() as connection:
        found = await store.newest(connection, key.hospital, filters, now, after, asked.limit + 1)
    page = found[: asked.limit]
    async with gateway.database.write(None) as connection:
        await record.note_read(connection, key, "overrides", msgspec.json.encode(filters).decode(), [one.id for one in page])
    last = page[-1] if len(found) > len(page) else None
    return answer(Page([override_shown(live, one, now) for one in page], None if last is None else cursor_of((last.at, last.id))))


@router.get("/{override_id}", summary="One override with all that was done, who took part and who may take over")
async def get_override(request: Request, override_id: str, key: Reader) -> Response:
    shown = await _in_full(request, key, override_id)
    async with gateway_of(request).database.write(None) as connection:
        await record.note_read(connection, key, "override", override_id, [shown.id])
    return answer(shown)


@router.post("/{override_id}/report", summary="Keep that an override was reported to the medical affairs office")
async def report(request: Request, override_id: str, key: Office) -> Response:
    body = await read_json(request, Report)
    actor = actor_of(key, body.by)
    await gateway_of(request).steps.report(actor, override_id, to=told_to(body), at=body.at, note=words(body.note))
    return answer(await _in_full(request, key, override_id))


@router.post("/{override_id}/takeover", summary="Keep that somebody took the operation over")
async def take_over(request: Request, override_id: str, key: Office) -> Response:
    body = await read_json(request, Takeover)
    actor = actor_of(key, body.by)
    await gateway_of(request).steps.take_over(actor, override_id, at=body.at, note=words(body.note))
    return answer(await _in_full(request, key, override_id))


@router.post("/{override_id}/review", summary="Begin, end or reopen the review; by nobody who took part")
async def review(request: Request, override_id: str, key: Reviewer) -> Response:
    body = await read_json(request, Review)
    actor = actor_of(key, body.by)
    await gateway_of(request).steps.review(actor, override_id, outcome=body.verdict, note=words(body.note))
    return answer(await _in_full(request, key, override_id))


async def _in_full(request: Request, key: Key, override_id: str) -> OverrideInFull:
    gateway = gateway_of(request)
    live, now = await gateway.live.hospital(key.hospital), datetime.now(UTC)
    async with gateway.database.read() as connection:
        one = await store.find(connection, key.hospital, override_id)
        if one is None:
            raise NotFound("没有此越级急诊手术 / no such override")
        steps = await store.steps_of(connection, one)
        participants = await participants_of(connection, one)
        body = await store.order_of(connection, one)
    return override_in_full(live, one, _now(), steps, participants, substitutes_of(live, body, one, now))


def _filters(asked: OverrideFilters, zone: Any, department: Any) -> store.Filters:
    if asked.flag is not None and asked.flag not in FLAGS:
        raise BadInput([FieldError("flag", "unknown_flag", f"未知的标记 / unknown flag; known are {', '.join(FLAGS)}")])
    return store.Filters(
        state=asked.state,
        overdue=_yes(asked.overdue),
        late=_yes(asked.late),
        department=None if asked.department is None else department(asked.department),
        operator=None if asked.operator is None else normalize_text(asked.operator),
        case_id=None if asked.case_id is None else normalize_text(asked.case_id),
        flag=asked.flag,
        since=begin_of(asked.since, zone),
        until=end_of(asked.until, zone),
    )


def _yes(asked: str | None) -> bool | None:
    return None if asked is None else asked == "true"


def _after(cursor: str | None) -> tuple[str, str] | None:
    position = position_of(cursor)
    try:
        return None if position is None else msgspec.convert(position, tuple[str, str])
    except msgspec.ValidationError:
        raise BadInput([FieldError("cursor", "invalid", "无效的游标 / not a cursor of this list")]) from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")

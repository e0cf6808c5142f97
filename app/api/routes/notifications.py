"""The messages to the medical affairs office as they stand: what waits, what was sent, what was given up; a dead one is tried again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Request, Response
from fastapi import Query as QueryOf

from app.api.answers import NotificationShown
from app.api.http import Page, answer, caller, cursor_of, gateway_of, position_of, reader
from app.api.queries import Paged
from app.cache.live_hospital import LiveHospital
from app.errors import BadInput, Conflict, FieldError, NotFound
from app.notify.targets import target_by
from app.store import outbox
from app.store.keys import Key, Role

router = APIRouter(prefix="/v1/notifications", tags=["operations"])

Position = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class NotificationsAsked(Paged):
    """Which messages."""

    state: Literal["waiting", "sent", "dead"] | None = None


@router.get("", summary="Messages to the medical affairs office, newest first")
async def list_notifications(
    request: Request, asked: Annotated[NotificationsAsked, QueryOf()], key: Annotated[Key, reader(Role.MEDICAL_AFFAIRS, Role.OPS)]
) -> Response:
    gateway = gateway_of(request)
    before = _before(asked.cursor)
    async with gateway.database.read() as connection:
        found = await outbox.listed(connection, key.hospital, asked.state, before, asked.limit + 1)
    following = cursor_of((found[asked.limit - 1].seq,)) if len(found) > asked.limit else None
    live = await gateway.live.hospital(key.hospital)
    return answer(Page([_shown(one, live) for one in found[: asked.limit]], following))


@router.post("/{number}/retry", summary="Try a dead message again")
async def retry_notification(
    request: Request,
    number: Annotated[int, Path(ge=1, le=2**63 - 1)],
    key: Annotated[Key, caller(Role.MEDICAL_AFFAIRS)],
) -> Response:
    gateway = gateway_of(request)
    async with gateway.database.write(key.hospital) as connection:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        revived = await outbox.revive(connection, key.hospital, number, now)
        found = await outbox.one(connection, key.hospital, number)
    if found is None:
        raise NotFound("没有此通知 / no such notification")
    if not revived:
        raise Conflict(f"只有已放弃的通知可以重发 / only a dead notification is tried again; this one is {found.state}")
    return answer(_shown(found, await gateway.live.hospital(key.hospital)))


def _shown(kept: outbox.Kept, live: LiveHospital) -> NotificationShown:
    target = target_by(live.settings, kept.target)
    zone = live.compiled.time_zone

    def local(text: str) -> datetime:
        return datetime.fromisoformat(text).astimezone(zone)

    return NotificationShown(
        id=str(kept.seq),
        override_id=kept.override_id,
        event=kept.event,
        target=kept.target,
        kind=None if target is None else target.kind,
        state=msgspec.convert(kept.state, Literal["waiting", "sent", "dead"]),
        attempts=kept.attempts,
        created_at=local(kept.created_at),
        next_at=local(kept.next_at),
        done_at=None if kept.done_at is None else local(kept.done_at),
        last_error=kept.last_error,
    )


def _before(cursor: str | None) -> int | None:
    position = position_of(cursor)
    try:
        return None if position is None else msgspec.convert(position, tuple[Position])[0]
    except msgspec.ValidationError:
        raise BadInput([FieldError("cursor", "invalid", "无效的游标 / not a cursor of this list")]) from None

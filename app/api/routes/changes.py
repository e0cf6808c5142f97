"""The change log: who changed what, when, why and on which document."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from app.api.http import Page, answer, cursor_of, gateway_of, position_of, reader
from app.api.office import change_shown
from app.api.queries import Instant, Paged
from app.errors import BadInput, FieldError
from app.store import changes as store
from app.store.keys import Key, Role

router = APIRouter(prefix="/v1/changes", tags=["changes"])

Reader = Annotated[Key, reader(Role.MEDICAL_AFFAIRS, Role.AUDITOR)]
Version = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class ChangesAsked(Paged):
    """What changes are looked for by; all that is given must hold."""

    since: Instant | None = None
    kind: str | None = None
    subject: str | None = None


@router.get("", summary="List changes, newest first, filtered by time, kind and subject")
async def list_changes(request: Request, asked: Annotated[ChangesAsked, Query()], key: Reader) -> Response:
    gateway = gateway_of(request)
    zone = (await gateway.live.hospital(key.hospital)).compiled.time_zone
    async with gateway.database.read() as connection:
        found = await store.entries(
            connection, key.hospital, asked.since, asked.kind, asked.subject, _before(asked.cursor), asked.limit + 1
        )
    page = found[: asked.limit]
    following = cursor_of((page[-1].version,)) if len(found) > len(page) else None
    return answer(Page([change_shown(msgspec.structs.replace(entry, at=entry.at.astimezone(zone))) for entry in page], following))


def _before(cursor: str | None) -> int | None:
    position = position_of(cursor)
    try:
        return None if position is None else msgspec.convert(position, tuple[Version])[0]
    except msgspec.ValidationError:
        raise BadInput([FieldError("cursor", "invalid", "无效的游标 / not a cursor of this list")]) from None

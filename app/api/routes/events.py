"""`GET /v1/events`: what happens in the hospital, as server-sent events."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Request, Response
from fastapi import Query as QueryOf
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.http import ALL_ROLES, caller, gateway_of
from app.api.queries import Query
from app.events.stream import Begin, EventStream
from app.events.view import KINDS, View
from app.store import chain, events
from app.store.keys import Key
from app.store.record import note_read

router = APIRouter(tags=["record"])

_KIND = "|".join(KINDS)
Number = Annotated[str | None, Field(pattern=r"^[0-9]{1,18}$")]


class EventsAsked(Query):
    """Which events, and from where on."""

    kinds: Annotated[str, Field(pattern=rf"^({_KIND})(,({_KIND}))*$", description="Kinds, by commas; all where it is left out")] = ",".join(
        KINDS
    )
    last_event_id: Annotated[Number, Field(description="As the header, for readers that cannot set one; the header goes first")] = None


@router.get("/v1/events", summary="What happens: decisions, overrides, changes of the matrix, as server-sent events")
async def stream_events(
    request: Request,
    asked: Annotated[EventsAsked, QueryOf()],
    key: Annotated[Key, caller(*ALL_ROLES)],
    last_event_id: Annotated[
        Number, Header(alias="Last-Event-ID", description="The id of the last event that the reader has; from now on where it is left out")
    ] = None,
) -> Response:
    """Opening a stream is recorded as a reading of what it shows from there on."""
    gateway = gateway_of(request)
    gateway.feed.check_room(key, len(gateway.live.settings))
    text = last_event_id or asked.last_event_id
    kinds = tuple(dict.fromkeys(asked.kinds.split(",")))
    async with gateway.database.write(None) as connection:
        begin = await _begin(connection, key.hospital, None if text is None else int(text))
        subject = msgspec.json.encode({"kinds": kinds, "after": begin.number}).decode()
        await note_read(connection, key, "events", subject, [])
    gateway.feed.check_room(key, len(gateway.live.settings))
    view = View(key, kinds, (await gateway.live.hospital(key.hospital)).compiled.time_zone)
    return EventStream(gateway.feed, gateway.live, key, view, begin)


async def _begin(connection: AsyncConnection, hospital: str, asked: int | None) -> Begin:
    """Where a stream begins. A number beyond the chain's end is one of a record that is no more (a backup was restored); what lies after an old
    one may all be archived. In both cases the reader is told of the gap, and goes on from now."""
    head, _ = await chain.head(connection, hospital)
    if asked is None or asked == head:
        return Begin(head, head)
    if asked > head or not await events.page(connection, hospital, asked, 1):
        return Begin(head, head, asked)
    return Begin(asked, head)

"""One stream of events: from a number of the chain on, for as long as reader, key and service are there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any, NamedTuple

from fastapi import Response
from starlette.types import Receive, Scope, Send

from app.cache.live import Live
from app.events.feed import Feed
from app.events.view import View, place_of, text_of
from app.store.database import AWAY
from app.store.events import Happened
from app.store.keys import Key

MEDIA_TYPE = "text/event-stream"
RETRY_MS = 2000
"""How long a reader waits before it comes back."""

HEARTBEAT_SECONDS = 15.0
"""Proxies cut connections on which nothing comes for a minute or so."""

SEND_SECONDS = 30.0
"""A reader that takes nothing for that long has gone, or is too slow: it comes back from where it was."""

FINISH_SECONDS = 1.0
"""How long the end of a stream may take to be sent: a reader that takes nothing must not hold up a stop."""

_log = logging.getLogger("surgate.events")


class Begin(NamedTuple):
    """Where a stream begins: after `number`. `head`: where the chain ends now; `gap_after`: the number asked for, where it could not begin there."""

    number: int
    head: int
    gap_after: int | None = None


class EventStream(Response):
    """The answer to `GET /v1/events`. Whatever it reads is read to the end: what is broken off at the reader's or the service's leave is only
    the waiting and the sending."""

    def __init__(self, feed: Feed, live: Live, key: Key, view: View, begin: Begin) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.headers["content-type"] = MEDIA_TYPE
        self._feed = feed
        self._live = live
        self._key = key
        self._view = view
        self._begin = begin

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        over = asyncio.create_task(self._over(receive))
        try:
            with self._feed.listening(self._key, self._begin.head):
                await self._run(_Out(send, over))
        except AWAY as error:
            _log.warning("an event stream ends: %s", type(error).__name__)  # its reader comes back from where it was
        finally:
            over.cancel()
        await _within(send({"type": "http.response.body", "body": b"", "more_body": False}), FINISH_SECONDS, None)

    async def _run(self, out: _Out) -> None:
        number = self._begin.number
        greeting = b"retry: %d\n" % RETRY_MS + place_of(number)
        if self._begin.gap_after is not None:
            greeting += text_of("gap", number, {"after": self._begin.gap_after, "next": number + 1})
        sending = await out.put(greeting)
        while sending:
            found = await self._feed.after(self._key.hospital, number)
            await self._live.fresh()
            if not self._is_let_in():
                return
            text, number = self._text(found, number)
            if text:
                sending = await out.put(text)
            elif not found:
                sending = await out.wait(self._feed.moved(self._key.hospital, number), number)

    def _is_let_in(self) -> bool:
        key = self._live.keys.get(self._key.id)
        return key is not None and key.revoked_at is None

    def _text(self, found: list[Happened], number: int) -> tuple[bytes, int]:
        """The events of a page, and where it ends. Numbers are without a gap: what is missing was archived."""
        texts = []
        for happened in found:
            if happened.number != number + 1:
                texts.append(text_of("gap", happened.number - 1, {"after": number, "next": happened.number}))
            number = happened.number
            if text := self._view.event(happened):
                texts.append(text)
        return b"".join(texts), number

    async def _over(self, receive: Receive) -> None:
        """Returns when the reader has gone or the service stops."""
        gone = asyncio.create_task(_gone(receive))
        closing = asyncio.create_task(self._feed.closing.wait())
        try:
            await asyncio.wait({gone, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            closing.cancel()


class _Out:
    """The way to the reader. `over` ends whatever waits."""

    def __init__(self, send: Send, over: asyncio.Task[None]) -> None:
        self._send = send
        self._over = over
        self._silent_since = time.monotonic()

    async def put(self, text: bytes) -> bool:
        """Send; False where nobody takes it any more. It waits for the reader to take it: a slow one holds a page, never more."""
        sent = await _within(self._send({"type": "http.response.body", "body": text, "more_body": True}), SEND_SECONDS, self._over)
        self._silent_since = time.monotonic()
        return sent and not self._over.done()

    async def wait(self, moved: asyncio.Event, number: int) -> bool:
        """Wait for something new; send a sign of life where it is time. False where the stream is over."""
        left = self._silent_since + HEARTBEAT_SECONDS - time.monotonic()
        if left <= 0:
            return await self.put(place_of(number))
        await _within(moved.wait(), left, self._over)
        return not self._over.done()


async def _within(doing: Awaitable[Any], seconds: float, over: asyncio.Task[None] | None) -> bool:
    """Whether it was done in time, before `over`; otherwise it is broken off."""
    task = asyncio.ensure_future(doing)
    try:
        await asyncio.wait({task} if over is None else {task, over}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
    return task.done() and not task.cancelled() and task.exception() is None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""The feed: a stream in Redis by which workers learn at once that the change log moved. They then look at the log itself; a feed that is lost costs
time alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from app.cache.redis_client import FAILURES, FIRST_PAUSE_SECONDS, TIMEOUT_SECONDS, Client, Way, connect

KEY = "surgate:1:feed"
"""One for all versions, whatever their rows are like: a change that one of them makes is heard by all."""

BLOCK_SECONDS = 0.5
"""How long one question waits for something new: what is not answered soon after says that Redis is away."""

MAX_ENTRIES = 1_000
"""About as many as are kept. Nobody reads back: who was away looks at the log."""


class Feed:
    """The feed, for one worker."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._task: asyncio.Task[None] | None = None
        self._client: Client | None = None
        self._stopping = False
        self.healthy = False
        """Whether it is being listened to: what is told is heard at once."""

    def start(self, heard: Callable[[int], None]) -> None:
        """Begin to listen. `heard` is told how far the log is."""
        self._client = connect(self._way.address, BLOCK_SECONDS + TIMEOUT_SECONDS)
        self._task = asyncio.create_task(self._listen(self._client, heard))

    async def stop(self) -> None:
        """Stop listening."""
        self.healthy = False
        self._stopping = True
        if self._task is not None:
            self._task.cancel()  # the client may swallow it: then the question that is under way ends first
            await asyncio.wait([self._task])
        if self._client is not None:
            await self._client.aclose()

    async def tell(self, seq: int) -> None:
        """Tell everybody how far the log is. Raises `Away`."""
        await self._way.ask("XADD", KEY, "MAXLEN", "~", MAX_ENTRIES, "*", "seq", seq)

    async def _listen(self, client: Client, heard: Callable[[int], None]) -> None:
        last: Any = b"0"
        while not self._stopping:
            try:
                if not self.healthy:
                    last = await self._begin(client)
                entries = await self._next(client, last)
            except FAILURES as error:
                self.healthy = False
                self._way.lost(error)
                await asyncio.sleep(FIRST_PAUSE_SECONDS)
                continue
            self._way.heard()
            for entry, fields in entries:
                last = entry
                heard(int(fields[b"seq"]))

    async def _begin(self, client: Client) -> Any:
        """Where the feed ends now. What was told before is found by the look at the log that follows."""
        async with asyncio.timeout(BLOCK_SECONDS + TIMEOUT_SECONDS):
            entries = await client.execute_command("XREVRANGE", KEY, "+", "-", "COUNT", 1)
        self.healthy = True
        return entries[0][0] if entries else b"0"

    async def _next(self, client: Client, last: Any) -> Any:
        async with asyncio.timeout(BLOCK_SECONDS + TIMEOUT_SECONDS):
            found = await client.execute_command("XREAD", "COUNT", 100, "BLOCK", round(BLOCK_SECONDS * 1000), "STREAMS", KEY, last)
        return [entry for _, entries in found or () for entry in entries]

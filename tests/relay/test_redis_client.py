"""The way to Redis."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from redis.asyncio.connection import Connection

from app.cache.redis_address import parse
from app.cache.redis_client import Away, Way
from app.telemetry.meters import Meters
from tests.servers import Redis

pytestmark = pytest.mark.anyio


async def test_what_was_connecting_at_the_close_leaves_no_connection(server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    connect, connecting, go_on = Connection._connect, asyncio.Event(), asyncio.Event()

    async def slow(self: Connection) -> Any:
        connecting.set()
        await go_on.wait()
        return await connect(self)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Connection, "_connect", slow)
    way = Way(parse(server.url()), Meters())
    asked = asyncio.create_task(way.ask("PING"))
    await connecting.wait()
    await way.close()
    go_on.set()
    with contextlib.suppress(Away):
        await asked
    assert server.call("CLIENT", "LIST").count("id=") == 1, "the one that asks this"

"""The way to Redis."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from redis.asyncio.connection import Connection

from app.cache import redis_client
from app.cache.redis_address import parse
from app.cache.redis_client import MAX_CONNECTIONS, Away, Way
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


async def test_who_waits_in_line_when_redis_hangs_does_not_wait_for_a_time_out_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def hang(*_: Any) -> None:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    monkeypatch.setattr(redis_client, "TIMEOUT_SECONDS", 0.05)
    way = Way(parse("redis://127.0.0.1:1"), Meters())
    monkeypatch.setattr(way._client, "execute_command", hang)
    answers = await asyncio.gather(*(way.ask("PING") for _ in range(10 * MAX_CONNECTIONS)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {Away}
    assert asked <= 2 * MAX_CONNECTIONS  # a first line that fails one after the other lets a few more in
    await way.close()

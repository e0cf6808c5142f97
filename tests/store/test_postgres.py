"""What a connection to PostgreSQL is set up with, on a real server."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database
from app.store.postgres import KEEPALIVE_COUNT, KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, SILENT_SECONDS
from tests.service.conftest import Shared

pytestmark = pytest.mark.anyio

LONGEST_SECONDS = 15
SETTINGS = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_both_ends_find_out_that_the_other_is_gone(shared: Shared) -> None:
    """A statement that a server has received is waited for without end otherwise: the address went elsewhere, and nothing comes back."""
    shared.server.execute("CREATE ROLE no_superuser LOGIN")
    database = Database(shared.server.url("postgres").replace("surgate@", "no_superuser@"))
    try:
        async with database.read() as connection:
            channel = await _socket(connection)
            assert channel.family == socket.AF_INET
            assert channel.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            ours = [
                channel.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            ]
            assert ours == [KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT, SILENT_SECONDS * 1000]
            servers = [int(await _shown(connection, name)) for name in SETTINGS]  # what the server's socket has
            assert servers == ours
    finally:
        await database.close()
    assert SILENT_SECONDS <= LONGEST_SECONDS


async def test_a_unix_socket_needs_none_of_it(shared: Shared) -> None:
    server = shared.server
    database = Database(f"postgresql+asyncpg://surgate@/postgres?host={server.folder}&port={server.port}")
    try:
        async with database.read() as connection:
            assert (await _socket(connection)).family == socket.AF_UNIX
            assert await _shown(connection, "application_name") == "surgate"
    finally:
        await database.close()


async def _socket(connection: AsyncConnection) -> Any:
    raw: Any = (await connection.get_raw_connection()).driver_connection
    return raw._transport.get_extra_info("socket")


async def _shown(connection: AsyncConnection, name: str) -> str:
    shown: str = (await connection.execute(text(f"SHOW {name}"))).scalar_one()
    return shown

"""A PostgreSQL with a standby that it waits for with each commit: nobody reads from the standby, and what the journal held is let go when that has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.store import tables
from app.store.database import AWAY, Database
from app.store.decisions import keep_journaled
from app.store.migrate import migrate
from tests.servers import Postgres, postgres, removed
from tests.store.records import HOSPITAL, a_record

pytestmark = pytest.mark.anyio

NAME = "surgate"
GIVE_UP_SECONDS = 60.0
A_WHILE = 0.5
"""Seconds after which a commit that waits for nobody would have come."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[tuple[Postgres, Postgres, Database]]:
    """A primary, its synchronous standby, and the store as a role that is no superuser has it."""
    standby = Postgres(tmp_path / "standby")
    with postgres(tmp_path / "primary") as primary, removed(standby):
        primary.execute("CREATE ROLE weak LOGIN")
        primary.execute(f"CREATE DATABASE {NAME} OWNER weak")
        database = Database(primary.url(NAME).replace("surgate@", "weak@"))
        await migrate(database)
        async with database.write(HOSPITAL) as connection:
            await connection.execute(tables.hospitals.insert().values(code=HOSPITAL, name="", time_zone="UTC", settings=b"{}"))
        await asyncio.to_thread(standby.follow, primary)
        yield primary, standby, database
        standby.thaw()
        await database.close()


async def test_what_a_standby_says_is_not_taken_for_the_truth(followed: tuple[Postgres, Postgres, Database]) -> None:
    """A name or a balancer may lead there. By what it has, a worker would go on allowing what was revoked, and say that nothing is degraded."""
    primary, standby, _ = followed
    led_astray = Database(standby.url(NAME))
    both = Database(f"postgresql+asyncpg://weak@/{NAME}?host=127.0.0.1:{standby.port}&host=127.0.0.1:{primary.port}")
    try:
        with pytest.raises(AWAY):
            await _read(led_astray)
        await _read(both)
        primary.kill()
        with pytest.raises(AWAY):
            await _read(both)
        await asyncio.to_thread(standby.promote)
        async with asyncio.timeout(GIVE_UP_SECONDS):
            while not await _is_there(led_astray):  # noqa: ASYNC110 - another process comes to it
                await asyncio.sleep(0.05)
        await _read(both)
    finally:
        await led_astray.close()
        await both.close()


async def _read(database: Database) -> None:
    async with database.read() as connection:
        await connection.execute(select(tables.changes.c.seq))


async def _is_there(database: Database) -> bool:
    try:
        await _read(database)
    except AWAY:
        return False
    return True


async def test_what_a_cancelled_commit_left_is_not_taken_for_kept(followed: tuple[Postgres, Postgres, Database]) -> None:
    primary, standby, database = followed

    async def bring() -> int:
        async with database.write(None) as connection:
            return await keep_journaled(connection, [a_record("R1")], lambda _: False)

    standby.freeze()
    first = asyncio.create_task(bring())
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while await asyncio.to_thread(primary.execute, waiting) != "1":  # noqa: ASYNC110 - another process comes to it
            await asyncio.sleep(0.02)
    # As the driver does for whoever is cancelled. The commit then ends, and its rows are seen, although the standby has none of them.
    await asyncio.to_thread(primary.execute, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    assert await first == 1
    again = asyncio.create_task(bring())
    assert not (await asyncio.wait({again}, timeout=A_WHILE))[0]
    standby.thaw()
    async with asyncio.timeout(GIVE_UP_SECONDS):
        assert await again == 0
    assert await asyncio.to_thread(standby.execute, "SELECT 1") == "1"
    assert await asyncio.to_thread(lambda: standby.psql("-c", "SELECT id FROM decisions", database=NAME)) == "d-R1"

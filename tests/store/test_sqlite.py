"""The embedded store's connections, and the queue of those who write to it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from app.store.database import Database
from app.store.sqlite import FIRST_ROWS
from app.store.turns import Turns

pytestmark = pytest.mark.anyio

GIVE_UP_SECONDS = 60.0
"""So that a test which would wait for ever fails."""

ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :last) SELECT i FROM n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
    async with made.write(None) as connection:
        await connection.execute(text("CREATE TABLE t (i INTEGER)"))
    yield made
    await made.close()


@pytest.mark.parametrize("last", [1, FIRST_ROWS - 1, FIRST_ROWS, FIRST_ROWS + 1, 3 * FIRST_ROWS])
async def test_every_row_is_read_once_and_in_order(database: Database, last: int) -> None:
    async with database.read() as connection:
        assert list((await connection.execute(text(ROWS), {"last": last})).scalars()) == list(range(1, last + 1))


@pytest.mark.parametrize("size", [1, 7, FIRST_ROWS - 1, FIRST_ROWS, FIRST_ROWS + 1, 10 * FIRST_ROWS])
async def test_every_row_is_read_once_piece_by_piece(database: Database, size: int) -> None:
    async with database.read() as connection, connection.stream(text(ROWS), {"last": 2 * FIRST_ROWS + 5}) as result:
        pieces = [[row.i for row in piece] async for piece in result.partitions(size)]
    assert [i for piece in pieces for i in piece] == list(range(1, 2 * FIRST_ROWS + 6))
    assert all(len(piece) == size for piece in pieces[:-1])


async def test_a_result_that_is_left_in_the_middle_holds_up_nothing(database: Database) -> None:
    async with database.read() as connection:
        async with connection.stream(text(ROWS), {"last": 10 * FIRST_ROWS}) as result:
            assert (await result.fetchone()).i == 1  # type: ignore[union-attr]
        assert (await connection.execute(text("SELECT 5"))).scalar() == 5
    async with database.write(None) as connection:
        await connection.execute(text("INSERT INTO t VALUES (1)"))


async def test_a_statement_that_nobody_waits_for_any_more_leaves_a_connection_that_works(database: Database) -> None:
    async def long() -> None:
        async with database.read() as connection:
            await connection.execute(text(f"SELECT max(i) FROM ({ROWS})"), {"last": 300_000})

    for _ in range(2 * 8):  # every connection of the pool, and once more
        asked = asyncio.create_task(long())
        await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.wait({asked})
    async with asyncio.timeout(GIVE_UP_SECONDS), database.write(None) as connection:
        await connection.execute(text("INSERT INTO t VALUES (2)"))
        assert (await connection.execute(text("SELECT count(*) FROM t"))).scalar() == 1


async def test_what_fails_is_rolled_back(database: Database) -> None:
    async def fail() -> None:
        async with database.write(None) as connection:
            await connection.execute(text("INSERT INTO t VALUES (3)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM t"))).scalar() == 0


async def test_who_comes_back_to_back_with_itself_leaves_another_process_its_turn(tmp_path: Path) -> None:
    """Each object stands for a process: their locks exclude each other."""
    busy, other = Turns(tmp_path / "store"), Turns(tmp_path / "store")
    turns, holding, stop = 0, False, False

    async def often() -> None:
        nonlocal turns
        while not stop:
            async with busy.turn():
                assert not holding
                turns += 1
                await asyncio.sleep(0.002)

    task = asyncio.create_task(often())
    async with asyncio.timeout(GIVE_UP_SECONDS):
        for _ in range(20):
            before = turns
            async with other.turn():
                holding = True
                await asyncio.sleep(0.002)
                holding = False
            assert turns - before <= 5
    stop = True
    await task
    busy.close()
    other.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
async def test_what_root_makes_is_the_stores_owners(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.touch()
    store.chmod(0o640)
    os.chown(store, 12345, 12346)
    turns = Turns(store)
    async with turns.turn():
        pass
    turns.close()
    made = [(tmp_path / f"store-{name}").stat() for name in ("next", "turn")]
    assert [(one.st_uid, one.st_gid, one.st_mode & 0o777) for one in made] == [(12345, 12346, 0o640)] * 2


async def test_a_turn_that_does_not_end_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.store.turns.BUSY_TIMEOUT_MS", 50)
    one, other = Turns(tmp_path / "store"), Turns(tmp_path / "store")
    async with one.turn():
        with pytest.raises(TimeoutError):
            async with other.turn():
                pass
    async with other.turn():
        pass
    one.close()
    other.close()

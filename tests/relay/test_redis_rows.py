"""The matrix in Redis: used where it is as the database says, and nowhere else."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.cache import redis_rows, relay
from app.cache.redis_client import Away
from app.cache.redis_rows import KEEP_SECONDS, PREFIX, Rows
from app.settings import Settings
from app.store import changes, hospitals, tables
from app.store.database import Database
from app.store.hospitals import Loaded
from tests.relay.conftest import HOSPITAL, OTHER, SURGEON, Workers, change, complete, content, honoured, status, until, working
from tests.servers import Redis, redis

pytestmark = pytest.mark.anyio

ITSELF, PEOPLE = f"{PREFIX}:{{{HOSPITAL}}}:itself", f"{PREFIX}:{{{HOSPITAL}}}:people"


async def test_what_comes_from_redis_is_what_the_database_holds(workers: Workers) -> None:
    first = await workers.start("first")
    assert (first.reads("hospital", "database"), first.reads("hospital", "redis")) == (1, 0)
    await until(lambda: complete(first))
    second = await workers.start("second")
    assert (second.reads("hospital", "database"), second.reads("hospital", "redis")) == (0, 1)
    assert content(second.live.hospitals[HOSPITAL]) == content(first.live.hospitals[HOSPITAL])
    assert list(second.live.hospitals[HOSPITAL].people) == list(first.live.hospitals[HOSPITAL].people)


async def test_a_change_is_published_row_by_row_and_heard_of_at_once(workers: Workers) -> None:
    """Nobody looks at the log by itself here."""
    first, second = await workers.start("first"), await workers.start("second")
    await until(lambda: complete(first))
    await until(lambda: first.relay.is_heard and second.relay.is_heard)
    seq = await change(
        first.database,
        "staff",
        (OTHER, "100001"),
        status(OTHER, "suspended"),
        tables.staff.delete().where(tables.staff.c.staff == "100001"),
    )
    await honoured(first.database, seq)
    assert second.live.hospitals[HOSPITAL].people[OTHER].staff.status == "suspended"
    assert second.reads("people", "redis") == 1
    seq = await change(first.database, "technology", None, update(tables.technologies).values(stopped=True))
    await honoured(first.database, seq)
    assert (second.reads("people", "redis"), second.reads("people", "database")) == (2, 0)
    third = await workers.start("third")
    assert third.reads("hospital", "redis") == 1
    anew = await _loaded(first.database)
    assert content(third.live.hospitals[HOSPITAL]) == content(second.live.hospitals[HOSPITAL])
    assert third.live.hospitals[HOSPITAL].people == anew.people
    assert "100001" not in anew.people
    assert first.count("surgate_redis_rebuilds") + second.count("surgate_redis_rebuilds") == 1


async def test_a_key_that_is_revoked_is_heard_of_at_once_too(workers: Workers) -> None:
    first, second = await workers.start("first"), await workers.start("second")
    await until(lambda: complete(first))
    await until(lambda: second.relay.is_heard)
    seq = await change(first.database, "key", None, update(tables.keys).values(revoked_at="2026-01-01T00:00:00+00:00"))
    await honoured(first.database, seq)
    assert all(key.revoked_at for key in second.live.keys.values())


async def test_what_nobody_published_is_noticed_and_brought_by_the_duty(workers: Workers, database: Database) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    await change(database, "staff", (SURGEON,), status(SURGEON, "suspended"))
    second = await workers.start("second")
    assert second.reads("hospital", "redis") == 0
    assert second.live.hospitals[HOSPITAL].people[SURGEON].staff.status == "suspended"
    await change(database, "staff", (OTHER,), status(OTHER, "suspended"))
    await first.live.look()
    await second.live.look()
    await until(lambda: complete(first))  # by the duty


async def test_redis_flushed_is_read_from_the_database_and_written_anew(workers: Workers, server: Redis) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    server.call("FLUSHALL")
    second = await workers.start("second")
    assert (second.reads("hospital", "database"), second.reads("hospital", "redis")) == (1, 0)
    await until(lambda: complete(first))
    third = await workers.start("third")
    assert third.reads("hospital", "redis") == 1


async def test_redis_set_back_to_an_older_dump_is_not_believed(settings: Settings, tmp_path: Path) -> None:
    with redis(tmp_path / "redis", "dbfilename dump.rdb") as server:
        async with working(settings, server.url()) as workers:
            first = await workers.start("first")
            await until(lambda: complete(first))
            server.call("SAVE")
            shutil.copy(server.folder / "dump.rdb", tmp_path / "older.rdb")
            seq = await change(first.database, "staff", (SURGEON,), status(SURGEON, "suspended"))
            await first.live.look()
            await honoured(first.database, seq)
            await until(lambda: complete(first))
        server.kill()
        shutil.copy(tmp_path / "older.rdb", server.folder / "dump.rdb")
        server.start()
        assert server.call("HLEN", PEOPLE) != "0"
        async with working(settings, server.url()) as workers:
            second = await workers.start("second")
            assert second.reads("hospital", "redis") == 0
            assert second.live.hospitals[HOSPITAL].people[SURGEON].staff.status == "suspended"
            await until(lambda: complete(second))
            assert (await second.relay._rows.whole(HOSPITAL, await _mark(second.database))) == await _loaded(second.database)


async def test_a_database_set_back_that_reaches_the_same_number_again_is_not_mistaken(
    settings: Settings, server: Redis, tmp_path: Path
) -> None:
    """Redis holds change 3 of a past that the database has no more. Another change 3 is made."""
    path = settings.var_dir / "surgate.db"
    shutil.copy(path, tmp_path / "backup.db")
    async with working(settings, server.url()) as workers:
        first = await workers.start("first")
        lost = await change(first.database, "staff", (OTHER,), status(OTHER, "suspended"))
        await until(lambda: complete(first))
    for left in settings.var_dir.glob("surgate.db*"):
        left.unlink()
    shutil.copy(tmp_path / "backup.db", path)
    alone = Database(settings.database)
    assert await change(alone, "staff", (SURGEON,), status(SURGEON, "suspended")) == lost
    await alone.close()
    async with working(settings, server.url()) as workers:
        second = await workers.start("second")
        assert second.reads("hospital", "redis") == 0
        people = second.live.hospitals[HOSPITAL].people
        assert (people[SURGEON].staff.status, people[OTHER].staff.status) == ("suspended", "active")
        await until(lambda: complete(second))
        assert (await second.relay._rows.whole(HOSPITAL, await _mark(second.database))) == await _loaded(second.database)


async def test_rows_of_another_layout_are_not_read_and_a_change_is_heard_all_the_same(
    workers: Workers, server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rolling upgrade to a version whose rows hold something more. That version's workers, as long as they run, have rows of their own."""
    old = await workers.start("old")
    await until(lambda: complete(old))
    with monkeypatch.context() as patched:
        patched.setattr(redis_rows, "PREFIX", f"{PREFIX}0")
        patched.setattr(relay, "DUTY", f"{relay.DUTY}0")
        new = await workers.start("new")
        assert (new.reads("hospital", "redis"), new.reads("hospital", "database")) == (0, 1)
        await until(lambda: complete(new))
    assert {server.call("EXISTS", f"{prefix}:{{{HOSPITAL}}}:people") for prefix in (PREFIX, f"{PREFIX}0")} == {"1"}
    await until(lambda: old.relay.is_heard and new.relay.is_heard)
    seq = await change(old.database, "staff", (SURGEON,), status(SURGEON, "suspended"))
    await honoured(old.database, seq)
    assert new.live.hospitals[HOSPITAL].people[SURGEON].staff.status == "suspended"


async def test_what_nobody_keeps_any_more_expires(workers: Workers, server: Redis) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    assert all(0 < int(server.call("TTL", key)) <= KEEP_SECONDS for key in (ITSELF, PEOPLE))
    await change(first.database, "staff", (SURGEON,), status(SURGEON, "suspended"))
    for key in (ITSELF, PEOPLE):
        server.call("PERSIST", key)
    await until(lambda: complete(first))
    assert all(0 < int(server.call("TTL", key)) <= KEEP_SECONDS for key in (ITSELF, PEOPLE))


async def test_the_worker_with_the_duty_keeps_what_is_there(workers: Workers, server: Redis) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    for key in (ITSELF, PEOPLE):
        server.call("EXPIRE", key, "60")
    await first.relay.repair({HOSPITAL: await _mark(first.database)})
    assert all(60 < int(server.call("TTL", key)) <= KEEP_SECONDS for key in (ITSELF, PEOPLE))


@pytest.mark.parametrize(
    "damage",
    [
        ("HDEL", PEOPLE, SURGEON),
        ("HSET", PEOPLE, SURGEON, "x"),
        ("DEL", PEOPLE),
        ("HDEL", ITSELF, "packed"),
        ("HSET", ITSELF, "packed", "x"),
        ("HSET", ITSELF, "complete", "x"),
        ("DEL", ITSELF),
    ],
    ids=lambda words: " ".join(words),
)
async def test_what_is_missing_or_unreadable_is_a_miss(workers: Workers, server: Redis, damage: tuple[str, ...]) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    mark = await _mark(first.database)
    rows = first.relay._rows
    assert await rows.whole(HOSPITAL, mark) is not None
    server.call(*damage)
    assert await rows.whole(HOSPITAL, mark) is None


async def test_a_row_that_is_newer_than_the_mark_is_a_miss(workers: Workers, server: Redis) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    mark, rows = await _mark(first.database), first.relay._rows
    moved = mark._replace(seq=mark.seq - 1)
    server.call("HSET", ITSELF, "complete", f"{moved.seq} {moved.at}")
    assert await rows.whole(HOSPITAL, moved) is None
    assert await rows.some(HOSPITAL, moved, [SURGEON], itself=False) is None


async def test_a_slow_writer_does_not_put_an_older_row_over_a_newer_one(workers: Workers) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    rows, base = first.relay._rows, await _mark(first.database)
    older = await _loaded(first.database)
    await change(first.database, "staff", (SURGEON,), status(SURGEON, "suspended"))
    await until(lambda: complete(first))
    mark = await _mark(first.database)
    assert not await rows.put(HOSPITAL, base, mark, None, {SURGEON: older.people[SURGEON]}, ())
    assert not await rows.replace(HOSPITAL, base, older)
    assert await rows.whole(HOSPITAL, mark) == await _loaded(first.database)


async def test_a_change_in_the_middle_of_a_reading_is_noticed(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    mark, rows = await _mark(first.database), first.relay._rows
    read = Rows._read
    changed = False

    async def meanwhile(self: Rows, make: Any) -> Any:
        nonlocal changed
        if not changed:
            changed = True
            await change(first.database, "staff", ("100001",), tables.staff.delete().where(tables.staff.c.staff == "100001"))
            await until(lambda: complete(first))
        return await read(self, make)

    monkeypatch.setattr(Rows, "_read", meanwhile)
    assert await rows.whole(HOSPITAL, mark) is None
    assert changed


async def test_of_many_that_read_a_hospital_one_writes_it(workers: Workers) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    rows = first.relay._rows
    assert await asyncio.gather(*(rows.may_write(HOSPITAL, f"worker {n}") for n in range(10))) == [True, *[False] * 9]
    await rows.written(HOSPITAL)
    assert await rows.may_write(HOSPITAL, "another")


async def test_redis_away_costs_one_question_and_no_answer(workers: Workers, server: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    server.kill()
    asked = 0
    execute: Any = first.relay._way._client.execute_command

    def counted(*words: Any) -> Awaitable[Any]:
        nonlocal asked
        asked += 1
        made: Awaitable[Any] = execute(*words)
        return made

    monkeypatch.setattr(first.relay._way._client, "execute_command", counted)
    for number in range(20):
        seq = await change(first.database, "staff", (SURGEON,), status(SURGEON, "suspended" if number % 2 else "active"))
        await first.live.look()
        await honoured(first.database, seq)
    assert asked <= 1
    assert first.live.hospitals[HOSPITAL].people[SURGEON].staff.status == "suspended"
    assert first.count("surgate_redis_up") == 0
    monkeypatch.undo()
    server.start()
    await until(lambda: first.relay._way.up)
    await until(lambda: first.count("surgate_redis_up") == 1)
    await until(lambda: complete(first))


@pytest.mark.usefixtures("impatient")
async def test_a_frozen_redis_is_left_alone(workers: Workers, server: Redis) -> None:
    first = await workers.start("first")
    await until(lambda: complete(first))
    server.freeze()
    try:
        await until(lambda: not first.relay._way.up)  # the feed notices, before anybody who judges asks
        with pytest.raises(Away):
            await first.relay._rows.complete(HOSPITAL)
        await change(first.database, "staff", (SURGEON,), status(SURGEON, "suspended"))
        await first.live.look()
        assert first.live.hospitals[HOSPITAL].people[SURGEON].staff.status == "suspended"
    finally:
        server.thaw()
    await until(lambda: complete(first))


async def _mark(database: Database) -> changes.Mark:
    async with database.read() as connection:
        return await changes.mark(connection, HOSPITAL)


async def _loaded(database: Database) -> Loaded:
    async with database.read() as connection:
        loaded = await hospitals.load(connection, HOSPITAL)
    assert loaded is not None
    return loaded

"""What a worker holds in memory: filled on first use, one read for all who wait, let go of when there is no room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from app.cache.live import Live
from app.settings import Settings
from app.store import hospitals, tables
from app.store.database import Database
from app.telemetry.meters import Meters
from tests.relay.conftest import GIVE_UP_SECONDS, HOSPITAL, OTHER, SURGEON, change, content, honoured, status, until

pytestmark = pytest.mark.anyio

SECOND = "second"


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Two hospitals: the demo hospital, and a small one."""
    made = Database(settings.database)
    async with made.read() as connection:
        loaded = await hospitals.load(connection, HOSPITAL)
    assert loaded is not None
    hospital = msgspec.structs.replace(loaded.itself.hospital, code=SECOND)
    few = [person for person in loaded.people.values() if person.grants][:20]
    async with made.write(SECOND) as connection:
        await hospitals.install(connection, hospital, few, loaded.itself.settings, "")
    await change(made, "import", None, hospital=SECOND)
    yield made
    await made.close()


@pytest.fixture
async def live(database: Database) -> AsyncIterator[Live]:
    """A worker's memory with room for one hospital."""
    made = Live(database, "worker", lease_seconds=600, follow_seconds=600, meters=Meters(), max_grants=1)
    await made.start()
    await until(lambda: made._warming is not None and made._warming.done())
    yield made
    await made.stop()


async def test_there_are_only_as_many_as_there_is_room_for(live: Live) -> None:
    assert len(live.hospitals) == 1
    kept = await live.hospital(HOSPITAL)
    before = content(kept)
    for code in (SECOND, HOSPITAL, SECOND):
        assert (await live.hospital(code)).hospital.code == code
        assert list(live.hospitals) == [code]
    assert content(kept) == before  # who judges by one that was let go of goes on


async def test_the_one_that_was_asked_for_longest_ago_goes_first(database: Database, live: Live) -> None:
    first, second = await live.hospital(HOSPITAL), await live.hospital(SECOND)
    live._max_grants = first.grants + second.grants
    await live.hospital(HOSPITAL)
    await live.hospital(SECOND)
    await live.hospital(HOSPITAL)
    assert list(live.hospitals) == [SECOND, HOSPITAL]
    live._max_grants -= 1
    live._make_room()
    assert list(live.hospitals) == [HOSPITAL]


async def test_a_herd_on_a_cold_hospital_is_one_read(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    await live.hospital(SECOND)
    load, reads = hospitals.load, 0

    async def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return await load(*arguments)

    monkeypatch.setattr(hospitals, "load", counted)
    found = await asyncio.gather(*(live.hospital(HOSPITAL) for _ in range(50)))
    assert (reads, len({id(one) for one in found})) == (1, 1)


async def test_one_who_gives_up_does_not_take_the_read_from_the_others(live: Live) -> None:
    await live.hospital(SECOND)
    waiting = [asyncio.create_task(live.hospital(HOSPITAL)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    assert (await waiting[1]).hospital.code == (await waiting[2]).hospital.code == HOSPITAL


async def test_what_changed_while_a_hospital_was_read_is_in_it(live: Live, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await live.hospital(SECOND)
    load = hospitals.load
    began, may_end = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        loaded = await load(*arguments)
        began.set()
        await may_end.wait()
        return loaded

    monkeypatch.setattr(hospitals, "load", slow)
    asking = asyncio.create_task(live.hospital(HOSPITAL))
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await began.wait()
    seq = await change(database, "staff", (SURGEON,), status(SURGEON, "suspended"))
    await live.look()  # the change returns: this worker honours it, whatever it has not read yet
    await honoured(database, seq)
    may_end.set()
    assert (await asking).people[SURGEON].staff.status == "suspended"


async def test_everything_anew_while_a_hospital_was_read_is_read_again(
    live: Live, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live.hospital(SECOND)
    load, reads = hospitals.load, 0

    async def overtaken(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        loaded = await load(*arguments)
        if reads == 1:
            await change(database, "import", None, status(OTHER, "suspended"))
            await live.look()
        return loaded

    monkeypatch.setattr(hospitals, "load", overtaken)
    assert (await live.hospital(HOSPITAL)).people[OTHER].staff.status == "suspended"
    assert reads == 2


async def test_a_hospital_that_is_being_read_keeps_no_other_one_waiting(
    live: Live, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await live.hospital(SECOND)
    load, may_end = hospitals.load, asyncio.Event()

    async def slow(*arguments: Any) -> Any:
        await may_end.wait()
        return await load(*arguments)

    monkeypatch.setattr(hospitals, "load", slow)
    asking = asyncio.create_task(live.hospital(HOSPITAL))
    await asyncio.sleep(0)
    number = next(iter(live.hospitals[SECOND].people))
    mine = tables.staff.update().where(tables.staff.c.hospital == SECOND, tables.staff.c.staff == number).values(status="suspended")
    seq = await change(database, "staff", (number,), mine, hospital=SECOND)
    await live.look()
    await honoured(database, seq)
    assert (await live.hospital(SECOND)).people[number].staff.status == "suspended"
    assert not asking.done()
    may_end.set()
    await asking


async def test_a_hospital_that_comes_is_known_and_one_that_is_not_there_is_an_error(live: Live, database: Database) -> None:
    with pytest.raises(KeyError):
        await live.hospital("third")
    async with database.read() as connection:
        loaded = await hospitals.load(connection, SECOND)
    assert loaded is not None
    async with database.write("third") as connection:
        hospital = msgspec.structs.replace(loaded.itself.hospital, code="third")
        await hospitals.install(connection, hospital, list(loaded.people.values()), loaded.itself.settings, "")
    await change(database, "import", None, hospital="third")
    await live.look()
    assert "third" in live.settings
    assert len((await live.hospital("third")).people) == len(loaded.people)

"""While all of a hospital is read again, checks go on by what was, and who changed it waits for this worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.cache import live as live_module
from app.cache.live import Live
from app.store import changes, hospitals
from app.store.database import Database
from app.telemetry.meters import Meters
from tests.relay.conftest import GIVE_UP_SECONDS, HOSPITAL, OTHER, SURGEON, change, honoured, status, until

pytestmark = pytest.mark.anyio


class Reading:
    """The reading of whole hospitals, which ends when it is told to, and with the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_end = asyncio.Event()
        self.count = 0
        load = hospitals.load

        async def slow(*arguments: Any) -> Any:
            loaded = await load(*arguments)
            self.count += 1
            await self.may_end.wait()
            return loaded

        monkeypatch.setattr(hospitals, "load", slow)


async def _worker(database: Database, lease_seconds: float, follow_seconds: float = 0.01) -> Live:
    made = Live(database, "worker", lease_seconds, follow_seconds, Meters(), reach_seconds=GIVE_UP_SECONDS)
    await made.start()
    return made


@pytest.fixture
async def live(database: Database) -> AsyncIterator[Live]:
    """A worker that follows the log; its lease does not run out because the machine is busy."""
    made = await _worker(database, 600.0)
    yield made
    await made.stop()


@pytest.fixture
async def reading(live: Live, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reading]:
    made = Reading(monkeypatch)
    yield made
    made.may_end.set()


def _judged_by(live: Live) -> str:
    return live.hospitals[HOSPITAL].people[SURGEON].staff.status


async def _status_that_is_judged_by(live: Live) -> str:
    async with asyncio.timeout(GIVE_UP_SECONDS):
        return (await live.hospital(HOSPITAL)).people[SURGEON].staff.status


async def test_checks_go_on_and_the_change_waits(live: Live, database: Database, reading: Reading) -> None:
    before = live.hospitals[HOSPITAL].as_of
    seq = await change(database, "import", None, status(SURGEON, "suspended"))
    returned = asyncio.create_task(changes.in_force(database, seq))
    await until(lambda: reading.count == 1)
    looks = live._looked
    await until(lambda: live._looked > looks + 5)
    assert await _status_that_is_judged_by(live) == "active"
    assert live.hospitals[HOSPITAL].as_of <= before or live._lingering is not None
    assert not returned.done()
    reading.may_end.set()
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await returned
    assert _judged_by(live) == "suspended"
    assert (reading.count, live._lingering) == (1, None)


@pytest.mark.parametrize("second", [("staff", (OTHER,)), ("key", ()), ("technology", None)], ids=lambda one: one[0])
async def test_with_a_further_change_it_is_out_of_memory_and_neither_waits(
    live: Live, database: Database, reading: Reading, second: tuple[str, tuple[str, ...] | None]
) -> None:
    await change(database, "import", None, status(SURGEON, "suspended"))
    await until(lambda: live._lingering is not None)
    kind, people = second
    seq = await change(database, kind, people)
    await honoured(database, seq)  # although nothing has been read
    assert HOSPITAL not in live.hospitals
    asked = asyncio.create_task(_status_that_is_judged_by(live))
    reading.may_end.set()
    assert await asked == "suspended"


async def test_what_comes_after_the_reading_is_all_that_is_applied(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    live = await _worker(database, 600.0, follow_seconds=600.0)  # it looks when it is told to
    try:
        reading = Reading(monkeypatch)
        await change(database, "import", None, status(SURGEON, "suspended"))
        await live.look()
        reading.may_end.set()
        await until(lambda: _judged_by(live) == "suspended")
        assert live._lingering is not None
        seq = await change(database, "staff", (OTHER,), status(OTHER, "suspended"))
        await live.look()
        await honoured(database, seq)
        assert live.hospitals[HOSPITAL].people[OTHER].staff.status == "suspended"
        assert reading.count == 1
    finally:
        await live.stop()


async def test_a_second_change_of_everything_is_waited_for_as_well(live: Live, database: Database, reading: Reading) -> None:
    await change(database, "import", None, status(SURGEON, "suspended"))
    await until(lambda: reading.count == 1)
    seq = await change(database, "import", None, status(OTHER, "suspended"))
    reading.may_end.set()
    await honoured(database, seq)
    assert live.hospitals[HOSPITAL].people[OTHER].staff.status == "suspended"
    assert live._lingering is None


async def test_nothing_is_judged_by_it_when_the_lease_has_run_out(
    live: Live, database: Database, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    await change(database, "import", None, status(SURGEON, "suspended"))
    await until(lambda: live._lingering is not None)
    await live._lease.settled()
    monkeypatch.setattr(live._lease, "renew", lambda *_, **__: None)
    live._lease.end()
    asked = asyncio.create_task(_status_that_is_judged_by(live))
    await until(lambda: HOSPITAL not in live.hospitals)
    reading.may_end.set()
    assert await asked == "suspended"


async def test_a_lease_that_has_run_out_is_asked_for_anew_while_the_worker_is_waited_for(
    live: Live, database: Database, reading: Reading
) -> None:
    """The transaction of a long import holds up every other writer: leases run out before the change can be seen."""
    await live._lease.settled()
    live._lease.end()
    seq = await change(database, "import", None, status(SURGEON, "suspended"))
    assert await _status_that_is_judged_by(live) == "active"
    reading.may_end.set()
    await honoured(database, seq)
    assert _judged_by(live) == "suspended"


async def test_who_was_forgotten_is_not_judged_by_although_nothing_else_changed(live: Live, database: Database, reading: Reading) -> None:
    async with live._looking:  # it is frozen
        await live._lease.settled()
        live._lease.end()
        seq = await change(database, "import", None, status(SURGEON, "suspended"))
        async with database.write(None) as connection:
            await changes.sign_off(connection, "worker")
        await honoured(database, seq)
    asked = asyncio.create_task(_status_that_is_judged_by(live))
    reading.may_end.set()
    assert await asked == "suspended"


async def test_it_is_not_judged_by_for_ever(live: Live, database: Database, reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "LINGER_SECONDS", 0.0)
    seq = await change(database, "import", None)
    await honoured(database, seq)
    assert HOSPITAL not in live.hospitals
    reading.may_end.set()


async def test_the_change_waits_for_as_long_as_leases_are_renewed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short lease, which is renewed several times while the hospital is read."""
    live = await _worker(database, 2.0)
    try:
        reading = Reading(monkeypatch)
        seq = await change(database, "import", None, status(SURGEON, "suspended"))
        returned = asyncio.create_task(changes.in_force(database, seq))
        await until(lambda: live._lingering is not None or HOSPITAL not in live.hospitals)
        began = changes.since_boot()
        while changes.since_boot() < began + 6.0 and live._lingering is not None and live._trusted():
            assert not returned.done() or not live._trusted()
            await asyncio.sleep(0.01)
        reading.may_end.set()
        async with asyncio.timeout(GIVE_UP_SECONDS):
            await returned
        assert await _status_that_is_judged_by(live) == "suspended"
    finally:
        await live.stop()


async def test_who_was_not_waited_for_any_more_gets_no_lease(database: Database) -> None:
    """A worker that was frozen after it had seen that all of a hospital changed: the change has returned without it."""
    async with database.write(None) as connection:
        assert await changes.acknowledge(connection, "frozen", await changes.latest(connection), 0.1)
        seen = await changes.latest(connection)
    seq = await change(database, "import", None)
    async with database.write(None) as connection:
        assert await changes.linger(connection, "frozen", seen, 0.1)
    await honoured(database, seq)
    async with database.write(None) as connection:
        assert not await changes.linger(connection, "frozen", seen, 0.1)
        assert not await changes.acknowledge(connection, "frozen", seen, 0.1)
    async with database.write(None) as connection:
        assert not await changes.linger(connection, "frozen", seen, 0.1)  # it did not put itself on the list again by that


async def test_who_renews_in_the_last_instant_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its renewal comes between the look that finds its lease over, and its being forgotten."""
    async with database.write(None) as connection:
        seen = await changes.latest(connection)
        await changes.acknowledge(connection, "worker", seen, 0.1)
    seq = await change(database, "import", None)
    forget, renewed = changes._forget, asyncio.Event()

    async def late(*arguments: Any) -> None:
        if not renewed.is_set():
            async with database.write(None) as connection:
                assert await changes.linger(connection, "worker", seen, 600.0)
            renewed.set()
        await forget(*arguments)

    monkeypatch.setattr(changes, "_forget", late)
    returned = asyncio.create_task(changes.in_force(database, seq))
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await renewed.wait()
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert not returned.done()
    async with database.write(None) as connection:
        assert await changes.acknowledge(connection, "worker", seq, 600.0)
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await returned


async def test_who_is_on_the_list_again_is_not_taken_off_it_by_a_second_change(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes wait for a worker that was frozen. The first one takes it off the list; it wakes, looks, and has a lease again, counted from one as the
    old one was. Were it taken off by the second one now, the next change would not wait for that lease."""
    async with database.write(None) as connection:
        seen = await changes.latest(connection)
        await changes.acknowledge(connection, "worker", seen, 0.1)
    first, second = await change(database, "staff", (SURGEON,)), await change(database, "staff", (OTHER,))
    forget, woken = changes._forget, asyncio.Event()

    async def late(*arguments: Any) -> None:
        await honoured_first()
        async with database.write(None) as connection:
            assert await changes.acknowledge(connection, "worker", second, 600.0)
        woken.set()
        await forget(*arguments)

    async def honoured_first() -> None:
        monkeypatch.setattr(changes, "_forget", forget)
        await honoured(database, first)

    monkeypatch.setattr(changes, "_forget", late)
    await honoured(database, second)
    assert woken.is_set()
    third = await change(database, "staff", (SURGEON,))
    assert list(await changes._late(database, third, {})) == ["worker"]

"""What a worker holds while the database is away: for how long, how it is marked, and what it does when the database is back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from app.cache import lease as lease_module
from app.cache import live as module
from app.cache.keeper import Keeper
from app.cache.live import Live
from app.cache.snapshot import Snapshot
from app.errors import StoreAway
from app.settings import Settings
from app.store import changes, tables
from app.store.changes import Change, since_boot
from app.store.database import AWAY, Database
from app.telemetry.meters import Meters
from tests.cache.faults import Severed, time_passes
from tests.service.conftest import Shared, Template

pytestmark = pytest.mark.anyio

SURGEON = "100302"
LEASE_SECONDS = 0.2
NEVER = 3600.0
"""Seconds between looks of a worker that is to look only when it is told to."""

Fault: TypeAlias = Literal["fails", "hangs"]
FAULTS: list[Fault] = ["fails", "hangs"]

PATIENT, SHORT = 60.0, 0.05
"""How long a database may take: one that is there, however slow the machine is; one that does not answer."""


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Severed]:
    made = Severed(settings.database)
    yield made
    made.fault = None
    await made.close()


@pytest.fixture
def snapshot(settings: Settings) -> Snapshot:
    return Snapshot(settings.snapshot_folder)


@pytest.fixture
async def worker(database: Severed, snapshot: Snapshot) -> AsyncIterator[Callable[..., Awaitable[Live]]]:
    """Makes workers and starts them; they are stopped at the end."""
    started: list[Live] = []

    async def make(**options: Any) -> Live:
        given: dict[str, Any] = {
            "lease_seconds": LEASE_SECONDS,
            "follow_seconds": NEVER,
            "snapshot": snapshot,
            "reach_seconds": PATIENT,
        } | options
        made = Live(database, f"worker-{len(started)}", **given)
        await made.start()
        started.append(made)
        return made

    yield make
    database.fault = None
    for made in started:
        await made.stop()


def sever(database: Severed, fault: Fault, *workers: Live) -> None:
    database.fault = fault
    for live in workers:
        live._reach_seconds = SHORT if fault == "hangs" else PATIENT


def mend(database: Severed, *workers: Live) -> None:
    for live in workers:
        live._reach_seconds = PATIENT
    database.fault = None


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT):
        while not holds():  # noqa: ASYNC110 - what is waited for is another task's doing
            await asyncio.sleep(0.01)


async def untrusted(live: Live) -> None:
    """Wait until a worker's lease has run out."""
    await until(lambda: not live._trusted())


def is_away(live: Live) -> bool:
    return live.away


def status(live: Live) -> str:
    return live.hospitals["wahh"].people[SURGEON].staff.status


async def suspend(database: Database, to: str = "suspended") -> int:
    async with database.write(None) as connection:
        await connection.execute(update(tables.staff).where(tables.staff.c.staff == SURGEON).values(status=to))
        return await changes.append(connection, Change("wahh", "1", "staff", SURGEON, "suspend", people=(SURGEON,)), datetime.now(UTC))


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_is_in_memory_is_gone_on_by_and_marked(worker: Callable[..., Awaitable[Live]], database: Severed, fault: Fault) -> None:
    live = await worker()
    hospital = live.hospitals["wahh"]
    as_of = hospital.as_of
    assert not hospital.matrix.state.degraded
    sever(database, fault, live)
    await untrusted(live)
    await live.fresh()
    assert is_away(live)
    assert hospital.usable is hospital.matrix
    assert (hospital.matrix.state.degraded, hospital.matrix.state.as_of) == (True, as_of)
    mend(database, live)
    await live.look()
    assert not is_away(live)
    assert (hospital.matrix.state.degraded, hospital.matrix.state.as_of > as_of) == (False, True)


async def test_while_the_lease_runs_nothing_is_degraded(worker: Callable[..., Awaitable[Live]], database: Severed) -> None:
    live = await worker(lease_seconds=600)
    database.fault = "fails"
    with pytest.raises(OperationalError):
        await live.look()
    await live.fresh()
    assert not live.hospitals["wahh"].matrix.state.degraded


async def test_an_outage_costs_one_time_out_not_one_per_check(worker: Callable[..., Awaitable[Live]], database: Severed) -> None:
    live = await worker()
    sever(database, "hangs", live)
    await untrusted(live)
    asked = database.asked
    await asyncio.gather(*(live.fresh() for _ in range(50)))
    for _ in range(50):
        await live.fresh()
    assert is_away(live)
    assert database.asked == asked + 1


async def test_that_it_was_away_is_not_believed_for_long(worker: Callable[..., Awaitable[Live]], database: Severed) -> None:
    """A worker that was frozen while the database was away and came back looks for itself: what was found before the freeze is too old."""
    live = await worker(follow_seconds=0.05)
    sever(database, "hangs", live)
    await untrusted(live)
    await live.fresh()
    assert is_away(live)
    live._stopping.set()  # the follower, too, stands still
    assert live._task is not None
    await live._task
    mend(database, live)
    await suspend(database)
    await until(lambda: since_boot() >= live._away_until)
    await live.fresh()
    assert status(live) == "suspended"
    assert not live.hospitals["wahh"].matrix.state.degraded


async def test_a_worker_goes_over_to_the_database_by_itself(worker: Callable[..., Awaitable[Live]], database: Severed) -> None:
    live = await worker(follow_seconds=0.02)
    sever(database, "hangs", live)
    await until(lambda: is_away(live))
    mend(database, live)
    await suspend(database)
    await until(lambda: not is_away(live) and status(live) == "suspended")
    await until(live._trusted)


async def test_what_is_too_old_is_not_judged_by(
    worker: Callable[..., Awaitable[Live]], database: Severed, monkeypatch: pytest.MonkeyPatch
) -> None:
    meters = Meters()
    live = await worker(max_age_seconds=3600.0, meters=meters)
    database.fault = "fails"
    await untrusted(live)
    await live.fresh()
    hospital = live.hospitals["wahh"]
    time_passes(monkeypatch, 3599)
    await live.fresh()
    assert hospital.usable is not None
    time_passes(monkeypatch, 3601)
    await live.fresh()
    assert not hospital.usable
    told = {series.name: values[0] for series, values in meters.memory.read()}
    assert (told["surgate_degraded"], told["surgate_matrix_unavailable"]) == (1.0, 1.0)
    database.fault = None
    await live.look()
    assert hospital.usable is hospital.matrix
    told = {series.name: values[0] for series, values in meters.memory.read()}
    assert (told["surgate_degraded"], told["surgate_matrix_unavailable"]) == (0.0, 0.0)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_worker_starts_from_the_snapshot_and_goes_over(
    worker: Callable[..., Awaitable[Live]],
    database: Severed,
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    first = await worker()
    before = first.hospitals["wahh"]
    await Keeper(first, snapshot).keep()
    await suspend(database)  # not in the snapshot
    database.fault = fault
    with monkeypatch.context() as patched:
        patched.setattr(module, "AT_START_SECONDS", SHORT)
        live = await worker(follow_seconds=0.02)
    kept = live.hospitals["wahh"]
    assert (kept.version, kept.as_of, kept.people, kept.hospital, kept.settings) == (
        before.version,
        before.as_of,
        before.people,
        before.hospital,
        before.settings,
    )
    assert kept.matrix.state.degraded
    assert live.keys == first.keys
    await live.fresh()
    assert status(live) == "active"
    database.fault = None
    await until(lambda: not is_away(live))
    await live.hospital("wahh")
    assert status(live) == "suspended"
    assert not live.hospitals["wahh"].matrix.state.degraded


async def test_an_old_snapshot_starts_a_worker_that_allows_nothing_by_it(
    worker: Callable[..., Awaitable[Live]], database: Severed, snapshot: Snapshot
) -> None:
    first = await worker()
    held = first.held()
    assert held is not None
    long_ago = tuple(one._replace(as_of=datetime(2026, 1, 1, tzinfo=UTC)) for one in held.hospitals)
    assert snapshot.keep(held._replace(hospitals=long_ago))
    database.fault = "fails"
    live = await worker()
    await live.fresh()
    assert live.hospitals["wahh"].usable is None
    assert live.keys


async def test_without_a_usable_snapshot_a_worker_does_not_start(
    worker: Callable[..., Awaitable[Live]], database: Severed, snapshot: Snapshot
) -> None:
    first = await worker()
    await Keeper(first, snapshot).keep()
    database.fault = "fails"
    file = snapshot.folder / "wahh.hospital"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(AWAY):
        await worker()
    file.write_bytes(content)
    (snapshot.folder / "index").unlink()
    with pytest.raises(AWAY):
        await worker()


async def test_the_snapshot_is_not_confirmed_while_the_log_cannot_be_looked_at(
    worker: Callable[..., Awaitable[Live]], database: Severed, snapshot: Snapshot
) -> None:
    live = await worker()
    keeper = Keeper(live, snapshot)
    await keeper.keep()
    index = snapshot.index()
    database.fault = "fails"
    await untrusted(live)
    await live.fresh()
    (snapshot.folder / "index").unlink()
    await keeper.keep()
    assert snapshot.index() is None
    database.fault = None
    await live.look()
    await keeper.keep()
    assert index is not None
    assert snapshot.index() is not None


async def test_a_snapshot_that_cannot_be_written_is_told_of(worker: Callable[..., Awaitable[Live]], snapshot: Snapshot) -> None:
    meters = Meters()
    keeper = Keeper(await worker(), snapshot, meters)
    snapshot.folder.write_bytes(b"a file where the folder should be")
    await keeper.keep()
    assert keeper.failing
    assert {series.name: values[0] for series, values in meters.memory.read()}["surgate_snapshot_failures"] == 1.0
    snapshot.folder.unlink()
    await keeper.keep()
    assert not keeper.failing


class Backup:
    """The database as it is when this is made, to be put back."""

    def __init__(self, settings: Settings, database: Severed, store: Template | Shared) -> None:
        self._database = database
        self._file = settings.var_dir / "surgate.db"
        self._copy = settings.var_dir / "backup.db"
        self._server = store.server if isinstance(store, Shared) else None
        self._name = settings.database.rpartition("/")[2]
        if self._server is None:
            shutil.copyfile(self._file, self._copy)
        else:
            self._server.execute(f"CREATE DATABASE {self._name}_copy TEMPLATE {self._name}")

    async def put_back(self) -> None:
        await self._database.close()
        if self._server is None:
            for path in self._file.parent.glob("surgate.db*"):
                path.unlink()
            shutil.copyfile(self._copy, self._file)
        else:
            self._server.execute(f"DROP DATABASE {self._name} WITH (FORCE)")
            self._server.execute(f"ALTER DATABASE {self._name}_copy RENAME TO {self._name}")


@pytest.fixture
def backup(settings: Settings, database: Severed, store: Template | Shared) -> Backup:
    return Backup(settings, database, store)


@pytest.mark.parametrize("changed_since", [0, 1, 2], ids=["behind", "level", "ahead"])
async def test_a_restored_database_is_followed_and_told_of(
    worker: Callable[..., Awaitable[Live]],
    database: Severed,
    snapshot: Snapshot,
    backup: Backup,
    changed_since: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log's numbers begin again at an earlier one; also where as many changes have been made since as were lost."""
    meters = Meters()
    live = await worker(meters=meters)
    await suspend(database)
    await live.look()
    assert status(live) == "suspended"
    await Keeper(live, snapshot).keep()
    await backup.put_back()
    for _ in range(changed_since):
        await suspend(database, to="active")
    await untrusted(live)
    with caplog.at_level(logging.CRITICAL, "surgate.live"):
        await live.hospital("wahh")
    assert status(live) == "active"
    assert live.hospitals["wahh"].version == 1 + changed_since
    assert len(caplog.records) == 1
    assert {series.name: values[0] for series, values in meters.memory.read()}["surgate_log_replaced"] == 1.0
    await live.look()
    assert len(caplog.records) == 1
    await Keeper(live, snapshot).keep()
    index = snapshot.index()
    assert index is not None
    assert snapshot.hospital(index, "wahh").loaded.people[SURGEON].staff.status == "active"


async def test_a_database_restored_while_no_worker_ran_is_told_of(
    worker: Callable[..., Awaitable[Live]],
    database: Severed,
    snapshot: Snapshot,
    backup: Backup,
    caplog: pytest.LogCaptureFixture,
) -> None:
    live = await worker()
    await suspend(database)
    await live.look()
    await Keeper(live, snapshot).keep()
    await backup.put_back()
    await suspend(database, to="active")
    with caplog.at_level(logging.CRITICAL, "surgate.live"):
        restarted = await worker()
    assert len(caplog.records) == 1
    assert status(restarted) == "active"
    await Keeper(restarted, snapshot).keep()
    index = snapshot.index()
    assert index is not None
    assert snapshot.hospital(index, "wahh").loaded.people[SURGEON].staff.status == "active"


async def test_a_database_that_is_still_being_restored_is_not_followed(
    worker: Callable[..., Awaitable[Live]], database: Severed, snapshot: Snapshot
) -> None:
    live = await worker()
    async with database.write(None) as connection:
        for table in reversed(tables.metadata.sorted_tables):
            await connection.execute(table.delete())
    await untrusted(live)
    await live.fresh()
    assert is_away(live)
    assert live.keys
    assert live.hospitals["wahh"].matrix.state.degraded


async def test_a_long_load_is_not_taken_for_an_outage(
    worker: Callable[..., Awaitable[Live]], database: Severed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hospital that takes long to read is waited for, while the database answers a small question beside it."""
    monkeypatch.setattr(module, "BESIDE_SECONDS", 0.01)
    live = await worker()
    may_end, began = asyncio.Event(), asyncio.Event()
    apply = live._apply

    async def slow(*arguments: Any) -> None:
        began.set()
        await may_end.wait()
        await apply(*arguments)

    monkeypatch.setattr(live, "_apply", slow)
    await suspend(database)
    await untrusted(live)
    asked = database.asked
    waiting = asyncio.create_task(live.fresh())
    await began.wait()
    await until(lambda: database.asked > asked + 5)
    assert not waiting.done()
    may_end.set()
    await waiting
    assert status(live) == "suspended"
    assert not is_away(live)


async def test_a_load_that_the_database_breaks_off_is(
    worker: Callable[..., Awaitable[Live]], database: Severed, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await worker()

    async def stuck(*arguments: Any) -> None:
        database.fault = "hangs"
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(module, "BESIDE_SECONDS", 0.01)
        patched.setattr(module, "PATIENT_SECONDS", SHORT)
        patched.setattr(live, "_apply", stuck)
        await suspend(database)
        await untrusted(live)
        await live.fresh()
    assert is_away(live)
    assert status(live) == "active"
    database.fault = None
    await live.look()
    assert status(live) == "suspended"


async def test_a_hospital_that_is_not_in_memory_comes_from_the_snapshot_while_the_database_is_away(
    worker: Callable[..., Awaitable[Live]], database: Severed, snapshot: Snapshot
) -> None:
    live = await worker()
    await Keeper(live, snapshot).keep()
    live.hospitals.clear()
    database.fault = "fails"
    kept = await live.hospital("wahh")
    assert (kept.matrix.state.degraded, kept.usable is kept.matrix) == (True, True)
    database.fault = None
    await suspend(database)
    live._away_until = 0.0
    await untrusted(live)
    assert (await live.hospital("wahh")).people[SURGEON].staff.status == "suspended"
    assert not live.hospitals["wahh"].matrix.state.degraded


async def test_a_snapshot_that_is_known_to_be_behind_allows_nothing(
    worker: Callable[..., Awaitable[Live]], database: Severed, snapshot: Snapshot
) -> None:
    """What was suspended when this worker last looked stays so, whatever the snapshot says."""
    live = await worker()
    await Keeper(live, snapshot).keep()
    await suspend(database)
    await live.look()
    live.hospitals.clear()
    database.fault = "fails"
    assert (await live.hospital("wahh")).usable is None


async def test_a_hospital_that_nobody_has_is_refused_while_the_database_is_away(
    worker: Callable[..., Awaitable[Live]], database: Severed
) -> None:
    live = await worker()
    live.hospitals.clear()
    database.fault = "fails"
    with pytest.raises(StoreAway):
        await live.hospital("wahh")


async def test_what_comes_into_memory_while_the_log_cannot_be_looked_at_says_so_at_once(
    worker: Callable[..., Awaitable[Live]], database: Severed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hospital that was read before the database went away, and compiled when it was: changes may have returned in between."""
    monkeypatch.setattr(module, "AGE_SECONDS", NEVER)  # the others are not gone through again
    live = await worker()
    read = await live._read_whole("wahh")
    live.hospitals.clear()
    sever(database, "fails", live)
    await untrusted(live)
    await live.fresh()
    assert is_away(live)
    assert await live._put("wahh", read)
    assert (await live.hospital("wahh")).matrix.state.degraded
    mend(database, live)
    await live.look()
    assert not live.hospitals["wahh"].matrix.state.degraded


async def test_what_was_changed_by_a_look_that_failed_after_it_says_so_at_once(
    worker: Callable[..., Awaitable[Live]], database: Severed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGE_SECONDS", NEVER)
    live = await worker()
    sever(database, "fails", live)
    await untrusted(live)
    await live.fresh()
    mend(database, live)
    await suspend(database)
    apply = live._apply

    async def break_off(*arguments: Any) -> None:
        await apply(*arguments)
        raise OperationalError("", {}, ConnectionResetError())

    monkeypatch.setattr(live, "_apply", break_off)
    live._away_until = 0.0
    await live.fresh()
    assert (is_away(live), status(live)) == (True, "suspended")
    assert live.hospitals["wahh"].matrix.state.degraded


async def test_a_look_that_was_given_up_puts_nothing_old_over_what_a_later_one_has(
    worker: Callable[..., Awaitable[Live]], database: Severed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was broken off and did not notice: some client on its way swallowed it. The later look has a lease."""
    live = await worker()
    may_end, began, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    changed, catch_up = live._changed, live._catch_up

    async def deaf(*arguments: Any) -> Any:
        made = await changed(*arguments)
        if not began.is_set():
            began.set()
            database.fault = "hangs"
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await may_end.wait()
        return made

    async def watched(*arguments: Any) -> None:
        monkeypatch.setattr(live, "_catch_up", catch_up)  # the first one alone
        try:
            await catch_up(*arguments)
        finally:
            ended.set()

    monkeypatch.setattr(live, "_changed", deaf)
    monkeypatch.setattr(live, "_catch_up", watched)
    await suspend(database, "active")  # as it was
    await untrusted(live)
    with monkeypatch.context() as patched:
        patched.setattr(module, "BESIDE_SECONDS", 0.01)
        patched.setattr(module, "PATIENT_SECONDS", SHORT)
        await live.fresh()
    assert is_away(live)
    assert not ended.is_set()
    database.fault = None
    await suspend(database)
    await live.look()
    assert status(live) == "suspended"
    may_end.set()
    await until(ended.is_set)
    assert status(live) == "suspended"


async def test_a_renewal_that_never_ends_is_given_up(worker: Callable[..., Awaitable[Live]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is one that the network forgot: nothing comes, and nobody says so."""
    live = await worker(lease_seconds=600)
    write = live._lease._write

    async def forgotten(*_arguments: Any) -> None:
        await asyncio.Event().wait()

    live._lease.end()
    with monkeypatch.context() as patched:
        patched.setattr(lease_module, "RENEW_SECONDS", SHORT)
        patched.setattr(live._lease, "_write", forgotten)
        async with asyncio.timeout(PATIENT):
            await live.look()
    assert not live._trusted()
    assert live._lease._write == write
    await live.look()
    assert live._trusted()

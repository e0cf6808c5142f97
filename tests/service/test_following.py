"""How a worker follows changes: what is read again, what stays, and what goes on meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from app.cache import live_hospital as followed
from app.cache.changed import Changed
from app.cache.live import Live
from app.cache.live_hospital import LiveHospital
from app.engine.matrix import Matrix, PersonRow
from app.main import Gateway
from app.settings import Settings
from app.store import changes, hospitals, tables
from app.store.changes import Change, Logged
from app.store.database import Database
from tests.service.conftest import bearer

pytestmark = pytest.mark.anyio

SURGEON, OTHER = "100302", "100007"
TECHNOLOGY = "G09"
GIVE_UP_SECONDS = 60.0
"""So that a test which would wait for ever fails."""


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    made = Database(settings.database)
    yield made
    await made.close()


@pytest.fixture
async def live(database: Database) -> AsyncIterator[Live]:
    """A worker's memory that follows only when it is told to."""
    made = Live(database, "worker", lease_seconds=0.5, follow_seconds=5)
    await made.start()
    yield made
    await made.stop()


async def _log(database: Database, kind: str, people: tuple[str, ...] | None, *statements: Any) -> int:
    async with database.write(None) as connection:
        for statement in statements:
            await connection.execute(statement)
        return await changes.append(connection, Change("wahh", "1", kind, "", "", people=people), datetime.now(UTC))


def _suspended(staff: str) -> Any:
    return update(tables.staff).where(tables.staff.c.staff == staff).values(status="suspended")


def _stopped() -> Any:
    return update(tables.technologies).where(tables.technologies.c.id == TECHNOLOGY).values(stopped=True)


def _is_stopped(live: LiveHospital) -> bool:
    return next(t.stopped for t in live.compiled.source.technologies if t.id == TECHNOLOGY)


def _content(live: LiveHospital) -> Any:
    rows = {number: {name: getattr(row, name) for name in PersonRow.__slots__} for number, row in live.matrix.rows.items()}
    return live.hospital, live.people, rows, live.matrix.holders, live.version, live.policy_version


async def test_what_was_followed_is_what_is_loaded_anew(live: Live, database: Database) -> None:
    grants = tables.grants
    await _log(database, "grant", (SURGEON,), update(grants).where(grants.c.staff == SURGEON).values(state="suspended"))
    await live.look()
    await _log(database, "staff", (OTHER,), _suspended(OTHER))
    await _log(database, "technology", None, _stopped())
    await _log(database, "staff", ("100001",), tables.staff.delete().where(tables.staff.c.staff == "100001"))
    await live.look()
    new = Live(database, "new", lease_seconds=1, follow_seconds=5)
    await new.start()
    try:
        assert _content(live.hospitals["wahh"]) == _content(new.hospitals["wahh"])
    finally:
        await new.stop()
    assert live.hospitals["wahh"].people[OTHER].staff.status == "suspended"
    assert "100001" not in live.hospitals["wahh"].people


async def test_a_stopped_technology_leaves_people_as_they_are(live: Live, database: Database) -> None:
    before = live.hospitals["wahh"]
    version = await _log(database, "technology", None, _stopped(), _suspended(OTHER))
    await live.look()
    after = live.hospitals["wahh"]
    assert (_is_stopped(before), _is_stopped(after), after.version, after.matrix.state.version) == (False, True, version, version)
    assert all(after.people[number] is person for number, person in before.people.items())
    assert all(after.matrix.rows[number] is row for number, row in before.matrix.rows.items())


async def test_a_change_to_one_person_leaves_everything_else_as_it_is(live: Live, database: Database) -> None:
    before = live.hospitals["wahh"]
    version = await _log(database, "staff", (SURGEON,), _suspended(SURGEON), _suspended(OTHER))
    await live.look()
    after = live.hospitals["wahh"]
    assert (after.version, after.matrix.state.version) == (version, version)
    assert after.compiled is before.compiled
    assert {number for number, row in before.matrix.rows.items() if after.matrix.rows[number] is not row} == {SURGEON}
    assert before.people[SURGEON].staff.status == "active"


def test_what_the_log_asks_to_be_read_again() -> None:
    logged = [
        Logged(1, "a", "technology", None),
        Logged(2, "a", "grant", ("1",)),
        Logged(3, "b", "import", None),
        Logged(4, "a", "staff", ("2",)),
        Logged(5, "a", "key", ()),
        Logged(6, "c", "import", ("3",)),
        Logged(7, "d", "key", None),
        Logged(8, "b", "technology", None),
    ]
    assert Changed.since(logged) == {
        "a": Changed(4, itself=True, people=frozenset({"1", "2"})),
        "b": Changed(8, whole=True, itself=True),
        "c": Changed(6, people=frozenset({"3"})),
    }


async def test_others_get_their_turn_between_the_pieces_of_a_large_hospital(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hospitals, "ROWS_AT_ONCE", 200)
    since_last_turn, most = 0, 0

    def counted(of: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any) -> Any:
            nonlocal since_last_turn, most
            since_last_turn += 1
            most = max(most, since_last_turn)
            return of(*arguments)

        return made

    async def others() -> None:
        nonlocal since_last_turn
        while True:
            since_last_turn = 0
            await asyncio.sleep(0)

    for name in ("grant", "volume", "credential"):
        monkeypatch.setattr(hospitals.Values, name, counted(getattr(hospitals.Values, name)))
    task = asyncio.create_task(others())
    async with database.read() as connection:
        people = await hospitals.load_people(connection, "wahh", None)
    task.cancel()
    assert sum(len(p.grants) + len(p.volumes) + len(p.credentials) for p in people.values()) > 20_000
    assert most <= 200


class SlowMatrix(Matrix):
    """A matrix that takes as long to compile as the test wants."""

    began, may_end = threading.Event(), threading.Event()

    def __init__(self, *arguments: Any) -> None:
        self.began.set()
        assert self.may_end.wait(GIVE_UP_SECONDS)
        super().__init__(*arguments)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> type[SlowMatrix]:
    SlowMatrix.began.clear()
    SlowMatrix.may_end.clear()
    monkeypatch.setattr(followed, "Matrix", SlowMatrix)
    return SlowMatrix


async def test_a_worker_answers_while_a_large_hospital_is_compiled(
    gateway: Gateway, client: httpx.AsyncClient, keys: dict[str, str], slow: type[SlowMatrix]
) -> None:
    """Compiled on the loop, nothing would be answered until it is given up."""
    version = await _log(gateway.database, "import", None, _suspended(OTHER))
    assert await asyncio.to_thread(slow.began.wait, GIVE_UP_SECONDS)
    assert (await client.get("/healthz")).status_code == 200
    asking = asyncio.create_task(client.get(f"/v1/staff/{OTHER}/privileges", headers=bearer(keys["his"])))
    slow.may_end.set()
    assert (await asking).status_code == 200
    await changes.in_force(gateway.database, version)
    response = await client.get(f"/v1/staff/{OTHER}/privileges", headers=bearer(keys["his"]))
    assert [finding["code"] for finding in response.json()["findings"]] == ["staff_suspended"]


async def test_nothing_is_judged_by_the_old_matrix_once_a_change_returned_however_long_the_new_one_takes(
    live: Live, database: Database, slow: type[SlowMatrix]
) -> None:
    version = await _log(database, "import", None, _suspended(OTHER))
    await live.look()
    assert await asyncio.to_thread(slow.began.wait, GIVE_UP_SECONDS)
    await changes.in_force(database, version)
    waiting = [asyncio.create_task(live.hospital("wahh")) for _ in range(5)]
    done, _ = await asyncio.wait(waiting, timeout=0.3)
    assert not done
    slow.may_end.set()
    assert {one.people[OTHER].staff.status for one in await asyncio.gather(*waiting)} == {"suspended"}
    await live.look()
    async with database.read() as connection:
        row = (await connection.execute(select(tables.workers.c.acknowledged).where(tables.workers.c.id == "worker"))).scalar_one()
    assert row == version


async def test_of_many_that_wait_one_looks_for_all(live: Live, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    since = changes.since

    async def counted(*arguments: Any) -> Any:
        nonlocal looked
        looked += 1
        return await since(*arguments)

    monkeypatch.setattr(changes, "since", counted)
    await _log(database, "staff", (OTHER,), _suspended(OTHER))
    live._lease.end()
    live._lease._seconds = 600.0
    await asyncio.gather(*(live.fresh() for _ in range(50)))
    assert looked == 1
    assert live.hospitals["wahh"].people[OTHER].staff.status == "suspended"

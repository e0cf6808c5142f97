"""What PostgreSQL must be told to do that SQLite's one writer does by itself: the order of the change log, leases and changes, one decision per request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import func, select

from app.main import Gateway
from app.settings import Settings
from app.store import changes, tables
from app.store.changes import Change
from app.store.database import Database
from tests.service.conftest import anyio_backend, client, gateway, keys_fixture, settings, shared, store, store_template, template
from tests.service.orders import EXPIRED, order

__all__ = ["anyio_backend", "client", "gateway", "keys_fixture", "settings", "shared", "store", "store_template", "template"]

pytestmark = pytest.mark.anyio

TURNS = 200
"""How often the loop goes round before something that waits for a lock is taken to wait."""

GIVE_UP_SECONDS = 20.0
"""So that a test which would wait for ever fails: less than the pool's own patience."""


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    made = Database(settings.database)
    async with made.write("test") as connection:
        other = {"code": "other", "name": "Other", "time_zone": "Asia/Shanghai", "settings": b"{}"}
        await connection.execute(tables.hospitals.insert(), other)
    yield made
    await made.close()


def _change(hospital: str) -> Change:
    return Change(hospital, "1", "key", "K", "create", people=())


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0.001)


async def test_a_change_has_no_number_before_the_one_before_it_is_committed(database: Database) -> None:
    """Otherwise a worker that has seen the later number would never look for the earlier one."""
    made: list[int] = []

    async def later() -> None:
        async with database.write("other") as connection:
            made.append(await changes.append(connection, _change("other"), datetime.now(UTC)))

    async with database.write("wahh") as connection:
        first = await changes.append(connection, _change("wahh"), datetime.now(UTC))
        waiting = asyncio.create_task(later())
        await _turns()
        assert not made
    await waiting
    assert made == [first + 1]


async def test_no_lease_is_given_while_a_change_commits(database: Database) -> None:
    """Otherwise its worker would go on trusting what was before, and the change would not know of it."""
    given: list[bool] = []

    async def acknowledge(seq: int) -> None:
        async with database.write(None) as connection:
            given.append(await changes.acknowledge(connection, "me", seq, 1.0))

    async with database.write("wahh") as connection:
        seq = await changes.append(connection, _change("wahh"), datetime.now(UTC))
        waiting = asyncio.create_task(acknowledge(seq - 1))
        await _turns()
        assert not given
    await waiting
    assert given == [False]
    await acknowledge(seq)
    assert given == [False, True]


async def test_of_two_who_change_the_same_hospital_one_waits(database: Database) -> None:
    order_of_events: list[str] = []

    async def second(hospital: str) -> None:
        async with database.write(hospital):
            order_of_events.append(hospital)

    async with database.write("wahh"):
        same = asyncio.create_task(second("wahh"))
        other = asyncio.create_task(second("other"))
        if not database.embedded:
            await other
        await _turns()
        order_of_events.append("done")
    await asyncio.gather(same, other)
    assert order_of_events.index("done") < order_of_events.index("wahh")
    if not database.embedded:
        assert order_of_events[0] == "other", "one hospital's work must not hold up another's"


async def test_writers_that_wait_leave_the_readers_their_connections(database: Database) -> None:
    if not database.embedded:
        pytest.skip("PostgreSQL's writers wait in the server, for as long as its time-outs allow")

    async def write() -> None:
        async with database.write("wahh"):
            pass

    async with database.write("wahh"):
        waiting = [asyncio.create_task(write()) for _ in range(20)]
        await _turns()
        async with asyncio.timeout(GIVE_UP_SECONDS), database.read() as connection:
            assert (await connection.execute(select(func.count()).select_from(tables.hospitals))).scalar() == 2
    await asyncio.gather(*waiting)


async def test_one_request_sent_to_two_workers_at_once_is_one_decision(gateway: Gateway, settings: Settings, keys: dict[str, str]) -> None:
    second = Gateway(settings)
    async with second.app.router.lifespan_context(second.app):
        clients = [httpx.AsyncClient(transport=httpx.ASGITransport(app=one), base_url="http://gateway") for one in (gateway, second)]
        headers = {"Authorization": f"Bearer {keys['his']}"}
        for number in range(20):
            sent = order(EXPIRED, request_id=f"R-{number}", case_id=f"C-{number}")
            answers = await asyncio.gather(*(one.post("/v1/check", json=sent, headers=headers) for one in clients for _ in range(2)))
            assert {one.status_code for one in answers} == {200}
            assert len({one.json()["decision_id"] for one in answers}) == 1
            assert sum(not one.json()["replayed"] for one in answers) == 1
        for one in clients:
            await one.aclose()
    async with gateway.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(tables.decisions))).scalar() == 20

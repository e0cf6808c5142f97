"""The demo hospital in a store of the test's own, a Redis of its own, and workers' memories between them."""

from __future__ import annotations

import asyncio
import gc
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from app.cache import redis_client, redis_feed
from app.cache.live import Live
from app.cache.live_hospital import LiveHospital
from app.cache.redis_address import parse
from app.cache.redis_client import Away
from app.cache.relay import Relay
from app.engine.matrix import PersonRow
from app.settings import Settings
from app.store import changes, tables
from app.store.changes import Change
from app.store.database import Database
from app.telemetry.meters import Meters
from tests.servers import Redis, redis
from tests.service.conftest import Template, anyio_backend, template

__all__ = ["anyio_backend", "template"]

HOSPITAL, SURGEON, OTHER = "wahh", "100302", "100007"
GIVE_UP_SECONDS = 60.0
"""So that a test which would wait for ever fails."""


class Worker:
    """One worker's memory and its way to Redis. It looks at the log when it is told to, or when it hears of something."""

    def __init__(self, database: Database, url: str, name: str, **options: Any) -> None:
        self.meters = Meters()
        self.database = database
        self.relay = Relay(database, parse(url), name, self.meters)
        self.live = Live(
            database,
            name,
            options.pop("lease_seconds", 600.0),
            options.pop("follow_seconds", 600.0),
            self.meters,
            relay=self.relay,
            reach_seconds=GIVE_UP_SECONDS,
            **options,
        )

    def count(self, name: str, *labels: str) -> float:
        """A number of the worker's meters; 0 where nothing was counted."""
        series = self.meters.memory._known.get((name, labels))
        return 0.0 if series is None else self.meters.memory.values[series.at]

    def reads(self, what: str, source: str) -> float:
        return self.count("surgate_matrix_reads", what, source)


class Workers:
    """Starts workers, and stops them in the end."""

    def __init__(self, settings: Settings, url: str, stack: AsyncExitStack) -> None:
        self._settings, self.url, self._stack = settings, url, stack

    async def start(self, name: str, **options: Any) -> Worker:
        database = Database(self._settings.database)
        self._stack.push_async_callback(database.close)
        worker = Worker(database, options.pop("url", self.url), name, **options)
        await worker.live.start()
        self._stack.push_async_callback(worker.live.stop)
        return worker


@asynccontextmanager
async def working(settings: Settings, url: str) -> AsyncIterator[Workers]:
    async with AsyncExitStack() as stack:
        yield Workers(settings, url, stack)
    gc.collect()  # so that what was left open is told of here


@pytest.fixture
def impatient() -> None:
    """The test is about Redis being given up."""


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing times out because the machine is busy, but where a test is about that (`impatient`)."""
    if "impatient" not in request.fixturenames:
        monkeypatch.setattr(redis_client, "TIMEOUT_SECONDS", GIVE_UP_SECONDS)
        monkeypatch.setattr(redis_feed, "TIMEOUT_SECONDS", GIVE_UP_SECONDS)


@pytest.fixture
def settings(template: Template, tmp_path: Path) -> Settings:
    """Settings of a store of the test's own."""
    shutil.copytree(template.path.parent, tmp_path, dirs_exist_ok=True)
    return Settings(var_dir=tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    with redis(tmp_path / "redis") as made:
        yield made


@pytest.fixture
async def workers(settings: Settings, server: Redis) -> AsyncIterator[Workers]:
    async with working(settings, server.url()) as made:
        yield made


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database as the command line writes to it: nothing is published."""
    made = Database(settings.database)
    yield made
    await made.close()


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.01)


async def change(database: Database, kind: str, people: tuple[str, ...] | None, *statements: Any, hospital: str = HOSPITAL) -> int:
    """Change something and log it; the number of the change."""
    async with database.write(hospital) as connection:
        for statement in statements:
            await connection.execute(statement)
        return await changes.append(connection, Change(hospital, "1", kind, "", "", people=people), datetime.now(UTC))


async def honoured(database: Database, seq: int) -> None:
    """Return when every worker honours a change."""
    async with asyncio.timeout(GIVE_UP_SECONDS):
        await changes.in_force(database, seq)


def status(staff: str, to: str) -> Any:
    return update(tables.staff).where(tables.staff.c.staff == staff).values(status=to)


def content(live: LiveHospital) -> Any:
    """All that is judged by."""
    rows = {number: {name: getattr(row, name) for name in PersonRow.__slots__} for number, row in live.matrix.rows.items()}
    return live.hospital, live.settings, live.people, rows, live.matrix.holders, live.version, live.policy_version


async def complete(worker: Worker) -> bool:
    """Whether Redis has the hospital as the database has it."""
    async with worker.database.read() as connection:
        mark = await changes.mark(connection, HOSPITAL)
    try:
        return await worker.relay._rows.complete(HOSPITAL) == mark
    except Away:
        return False

"""What the service's tests share: a store with the demo hospital, built once and copied for each test; a gateway on it; keys of every role."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import httpx
import pytest

from app.audit.store import open_store
from app.imports.pack import import_pack
from app.main import Gateway
from app.settings import Settings
from app.store import keys
from app.store.migrate import migrate
from tests.servers import Postgres, postgres

SLOW_IS_NO_OUTAGE = 30
"""Seconds that the database may take in tests that are not about its absence: no slow machine makes one of it."""

PACK = Path(__file__).parents[2] / "packs" / "wahh"


class Template(NamedTuple):
    """A store's file and the keys in it, by role."""

    path: Path
    keys: dict[str, str]


class Shared(NamedTuple):
    """A PostgreSQL server for all tests of a process, and a folder beside it with what proves the record of its database `template`."""

    server: Postgres
    folder: Path
    keys: dict[str, str]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The demo hospital in a fresh store, with one key for each role; its client is named as the role."""
    path = tmp_path_factory.mktemp("store") / "surgate.db"
    return Template(path, asyncio.run(_build(Settings(var_dir=path.parent))))


@pytest.fixture(scope="session")
def store_template(template: Template) -> Path:
    return template.path


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """The same as `template` on PostgreSQL. What these tests look at is not what a power cut leaves: nothing is synced."""
    folder = tmp_path_factory.mktemp("shared")
    with postgres(folder / "server", fsync="off", synchronous_commit="off", full_page_writes="off") as server:
        server.execute("CREATE DATABASE template")
        settings = Settings(var_dir=folder / "var", database_url=server.url("template"))
        yield Shared(server, settings.var_dir, asyncio.run(_build(settings)))


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Template | Shared:
    """The demo hospital in either database."""
    made: Template | Shared = request.getfixturevalue("template" if request.param == "sqlite" else "shared")
    return made


@pytest.fixture(name="keys")
def keys_fixture(store: Template | Shared) -> dict[str, str]:
    """Role → the key's text."""
    return store.keys


@pytest.fixture
def settings(store: Template | Shared, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a store of the test's own."""
    # With the store's file, or beside its database, the heads of its chain and the key that signs them.
    shutil.copytree(store.path.parent if isinstance(store, Template) else store.folder, tmp_path, dirs_exist_ok=True)
    if isinstance(store, Template):
        yield Settings(var_dir=tmp_path, follow_seconds=0.02, reach_seconds=SLOW_IS_NO_OUTAGE)
        return
    name = f"t{uuid4().hex}"
    store.server.execute(f"CREATE DATABASE {name} TEMPLATE template")
    yield Settings(var_dir=tmp_path, follow_seconds=0.02, reach_seconds=SLOW_IS_NO_OUTAGE, database_url=store.server.url(name))
    store.server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """A worker in this process, started."""
    made = Gateway(settings)
    async with made.app.router.lifespan_context(made.app):
        yield made


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client of that worker, without a key: send `headers=bearer(keys["his"])`."""
    transport = httpx.ASGITransport(app=gateway)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as made:
        yield made


def bearer(key: str) -> dict[str, str]:
    """The header that a key is sent in."""
    return {"Authorization": f"Bearer {key}"}


async def _build(settings: Settings) -> dict[str, str]:
    database, _ = open_store(settings)
    await migrate(database)
    await import_pack(database, PACK)
    made = {}
    async with database.write(PACK.name) as connection:
        for role in keys.Role:
            _, made[role.value] = await keys.create(connection, PACK.name, [role], role.value, None)
    if database.embedded:
        async with database.engine.connect() as connection:
            await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    await database.close()
    return made

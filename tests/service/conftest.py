"""What the service's tests share: a store with the demo hospital, built once and copied for each test; a gateway on it; keys of every role."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from app.audit.store import open_store
from app.imports.pack import import_pack
from app.main import Gateway
from app.settings import Settings
from app.store import keys
from app.store.migrate import migrate

PACK = Path(__file__).parents[2] / "packs" / "wahh"


class Template(NamedTuple):
    """A store's file and the keys in it, by role."""

    path: Path
    keys: dict[str, str]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The demo hospital in a fresh store, with one key for each role; its client is named as the role."""
    path = tmp_path_factory.mktemp("store") / "surgate.db"
    return Template(path, asyncio.run(_build(path)))


@pytest.fixture(scope="session")
def store_template(template: Template) -> Path:
    return template.path


@pytest.fixture(name="keys")
def keys_fixture(template: Template) -> dict[str, str]:
    """Role → the key's text."""
    return template.keys


@pytest.fixture
def settings(store_template: Path, tmp_path: Path) -> Settings:
    """Settings of a store of the test's own."""
    shutil.copytree(
        store_template.parent, tmp_path, dirs_exist_ok=True
    )  # the store, and the heads of its chain with the key that signs them
    return Settings(var_dir=tmp_path, follow_seconds=0.02, reach_seconds=60)  # a slow machine is no outage


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


async def _build(path: Path) -> dict[str, str]:
    database, _ = open_store(Settings(var_dir=path.parent))
    await migrate(database)
    await import_pack(database, PACK)
    made = {}
    async with database.write() as connection:
        for role in keys.Role:
            _, made[role.value] = await keys.create(connection, PACK.name, [role], role.value, None)
    async with database.engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    await database.close()
    return made

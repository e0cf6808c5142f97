"""What the database says of many rows at once is told as what it says of one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError

from app.settings import Settings
from app.store import bulk, tables
from app.store.breaker import refuses
from app.store.database import Database
from tests.service.conftest import anyio_backend, settings, shared, store, store_template, template

__all__ = ["anyio_backend", "settings", "shared", "store", "store_template", "template"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    made = Database(settings.database)
    yield made
    await made.close()


async def _refused(database: Database, table: Table, rows: Sequence[dict[str, Any]]) -> bool:
    """Whether the rows are refused for what they are, and not because the database is away."""
    with pytest.raises(SQLAlchemyError) as raised:
        async with database.write("wahh") as connection:
            await bulk.insert(connection, table, rows)
    return refuses(raised.value)


async def test_a_row_that_is_there_twice(database: Database) -> None:
    key = {"key": "k", "public": b"", "since": ""}
    assert await _refused(database, tables.seal_keys, [key, key])


async def test_a_text_that_no_index_takes(database: Database) -> None:
    """For ever refused, and so set aside: the journal would not be drained behind it."""
    term = {"hospital": "wahh", "kind": "code", "value": os.urandom(6000).hex(), "decision_id": "d", "at": ""}
    if not database.embedded:
        assert await _refused(database, tables.decision_terms, [term])


async def test_a_table_that_somebody_holds(database: Database) -> None:
    if database.embedded:
        return
    async with database.write("other") as connection:
        await connection.exec_driver_sql("LOCK TABLE seal_keys")
        async with database.write("wahh") as waiting:
            await waiting.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
            with pytest.raises(SQLAlchemyError) as raised:
                await bulk.insert(waiting, tables.seal_keys, [{"key": "k", "public": b"", "since": ""}])
    assert not refuses(raised.value)

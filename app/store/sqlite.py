"""The embedded store: a SQLite file in WAL mode with synchronous=FULL, for one machine. It has one writer at a time among all processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another process's transaction before it fails. A disk may stall for over ten seconds."""

CACHE_KIB, POOLED_CACHE_KIB = 65_536, 16_384
"""Pages that a connection keeps: one of the two that checks go by, and each of the pool, of which there are eight."""

_WRITE = "surgate_write"

_OURS = {"isolation_level": None}
"""The driver's own transaction handling is off: BEGIN is ours, so that a writer takes its lock at once."""

_Made = TypeVar("_Made")


def engine(url: str, *, at_once: bool = False) -> AsyncEngine:
    """The pool of connections, each with a thread that its calls are handed to. `at_once`: one connection whose calls are made where they are asked for;
    nothing else runs in that thread meanwhile."""
    given: dict[str, Any] = {"pool_size": 8, "max_overflow": 0, "pool_timeout": 30, "connect_args": _OURS}
    if at_once:
        given = {"poolclass": StaticPool, "connect_args": _OURS | {"async_creator_fn": _at_once}}
    made = create_async_engine(url, hide_parameters=True, **given)
    event.listen(made.sync_engine, "connect", partial(_prepare, CACHE_KIB if at_once else POOLED_CACHE_KIB))
    event.listen(made.sync_engine, "begin", _begin)
    return made


class _AtOnce(aiosqlite.Connection):
    """A connection of aiosqlite's without its thread."""

    def __await__(self) -> Generator[Any, None, aiosqlite.Connection]:
        return self._connect().__await__()

    async def _connect(self) -> aiosqlite.Connection:
        self._connection = self._connector()
        return self

    async def _execute(self, fn: Callable[..., _Made], *args: Any, **kwargs: Any) -> _Made:
        return fn(*args, **kwargs)

    async def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _at_once(database: str, **kwargs: Any) -> aiosqlite.Connection:
    return _AtOnce(lambda: sqlite3.connect(database, **kwargs), iter_chunk_size=64)


def reader(made: AsyncEngine) -> AsyncEngine:
    """The same pool for transactions that read."""
    return made


def writer(made: AsyncEngine) -> AsyncEngine:
    """The same pool for transactions that write: they take the write lock when they begin."""
    return made.execution_options(**{_WRITE: True})


def _prepare(cache_kib: int, connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        f"cache_size=-{cache_kib}",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITE) else "BEGIN")

"""The embedded store: a SQLite file in WAL mode with synchronous=FULL, for one machine. It has one writer at a time among all processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable
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

FIRST_ROWS = 200
"""Rows that are read when a statement is executed: all of them, of most."""

_OURS = {"isolation_level": None}
"""The driver's own transaction handling is off: BEGIN is ours, so that a writer takes its lock at once."""

_Made = TypeVar("_Made")


def engine(url: str, *, at_once: bool = False) -> AsyncEngine:
    """The pool of connections, each with a thread that its calls are handed to. `at_once`: one connection whose calls are made where they are asked for;
    nothing else runs in that thread meanwhile."""
    given: dict[str, Any] = {"pool_size": 8, "max_overflow": 0, "pool_timeout": 30}
    given |= {"connect_args": _OURS | {"async_creator_fn": _pooled, "check_same_thread": False}}
    if at_once:
        given = {"poolclass": StaticPool, "connect_args": _OURS | {"async_creator_fn": _at_once}}
    made = create_async_engine(url, hide_parameters=True, **given)
    event.listen(made.sync_engine, "connect", partial(_prepare, CACHE_KIB if at_once else POOLED_CACHE_KIB))
    event.listen(made.sync_engine, "begin", _begin)
    return made


class _Pooled(aiosqlite.Connection):
    """A connection of aiosqlite's that hands a statement to its thread once, with the reading of its first rows, and not for making and closing its
    cursor too: behind checks that keep the loop busy each hand-over costs milliseconds, and the next writer waits for them all."""

    def cursor(self) -> _Cursor:  # type: ignore[override]
        return _Cursor(self, self._conn.cursor())

    async def rollback(self) -> None:
        if self._conn.in_transaction:
            await super().rollback()


class _Cursor(aiosqlite.Cursor):
    def __init__(self, connection: _Pooled, cursor: sqlite3.Cursor) -> None:
        super().__init__(connection, cursor)
        self._rows: list[Any] = []
        self._more = self._in_thread = False

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> aiosqlite.Cursor:
        self._rows = await self._execute(self._begin, sql, () if parameters is None else parameters)
        self._more = len(self._rows) == FIRST_ROWS
        return self

    def _begin(self, sql: str, parameters: Any) -> list[Any]:
        self._cursor.execute(sql, parameters)
        return [] if self._cursor.description is None else self._cursor.fetchmany(FIRST_ROWS)

    async def fetchmany(self, size: int | None = None) -> Iterable[Any]:
        size = self.arraysize if size is None else size
        rows, self._rows = self._rows[:size], self._rows[size:]
        if self._more and len(rows) < size:
            rows += await self._execute(self._cursor.fetchmany, size - len(rows))
            self._more = len(rows) == size
        return rows

    async def fetchone(self) -> Any:
        return next(iter(await self.fetchmany(1)), None)

    async def fetchall(self) -> Iterable[Any]:
        rows, self._rows = self._rows, []
        if self._more:
            rows += await self._execute(self._cursor.fetchall)
            self._more = False
        return rows

    async def close(self) -> None:
        if self._in_thread:  # who waited was cancelled
            await self._conn._execute(self._cursor.close)  # type: ignore[no-untyped-call]
        else:
            self._cursor.close()

    async def _execute(self, fn: Callable[..., _Made], *args: Any, **kwargs: Any) -> _Made:
        self._in_thread = True
        made: _Made = await self._conn._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        self._in_thread = False
        return made


def _pooled(database: str, **kwargs: Any) -> aiosqlite.Connection:
    made = _Pooled(lambda: sqlite3.connect(database, **kwargs), iter_chunk_size=64)
    made._thread.daemon = True
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

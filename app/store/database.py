"""The database: one engine per process, reads and writes as distinct transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another process's transaction before it fails. A disk may stall for over ten seconds."""

_NOTED = "surgate.noted"


class Head(NamedTuple):
    """The last entry of a hospital's chain. `follows` and `before`: number and hash of the one that the transaction's first entry was put after."""

    hospital: str
    number: int
    hash: bytes
    follows: int
    before: bytes


@dataclass
class _Noted:
    """What a transaction says is to be told when it is committed."""

    heads: dict[str, Head] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    enqueued: bool = False


class Database:
    """A pool of connections to the store. `committed` is told the new heads of the chain after each transaction that appended to it,
    `enqueued` is called after each that put something into the outbox. `changed` may be set to what is told, after each that changed a hospital's
    matrix, its code and the number of the change.

    SQLite runs in WAL mode with synchronous=FULL: a transaction that was committed is on stable storage.
    """

    def __init__(self, url: str, committed: Callable[[Head], None] | None = None, enqueued: Callable[[], None] | None = None) -> None:
        self._committed = committed
        self._enqueued = enqueued
        self.changed: Callable[[str, int], None] | None = None
        self.engine: AsyncEngine = create_async_engine(url, hide_parameters=True, pool_size=8, max_overflow=0, pool_timeout=30)
        event.listen(self.engine.sync_engine, "connect", _prepare)
        event.listen(self.engine.sync_engine, "begin", _begin)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: one consistent state."""
        async with self.engine.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def write(self, prepare: Callable[[AsyncConnection], Awaitable[None]] | None = None) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes; committed at the end, rolled back where anything raises. It takes the write lock at its start, so that
        what it reads cannot change before it writes.

        `prepare` is called before, without the lock: what it puts into temporary tables of the connection is at hand in the transaction and gone
        afterwards.
        """
        async with self.engine.connect() as connection:
            noted = connection.info[_NOTED] = _Noted()
            try:
                if prepare is not None:
                    async with connection.begin():
                        await prepare(connection)
                connection = await connection.execution_options(surgate_write=True)
                async with connection.begin():
                    yield connection
            finally:
                if prepare is not None:
                    await connection.invalidate()  # temporary tables live as long as their connection
        if self._committed is not None:
            for head in noted.heads.values():
                self._committed(head)
        if self._enqueued is not None and noted.enqueued:
            self._enqueued()
        if self.changed is not None:
            for hospital, seq in noted.changed.items():
                self.changed(hospital, seq)

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()


def note_head(connection: AsyncConnection, head: Head) -> None:
    """Say within a transaction that writes where a hospital's chain ends when it is committed."""
    heads: dict[str, Head] = connection.info[_NOTED].heads
    first = heads.get(head.hospital, head)
    heads[head.hospital] = head._replace(follows=first.follows, before=first.before)


def note_change(connection: AsyncConnection, hospital: str, seq: int) -> None:
    """Say within a transaction that writes which change of a hospital it is, when it is committed."""
    connection.info[_NOTED].changed[hospital] = seq


def note_enqueued(connection: AsyncConnection) -> None:
    """Say within a transaction that writes that the outbox holds something new when it is committed."""
    connection.info[_NOTED].enqueued = True


def _prepare(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling is off: BEGIN is ours, so that a writer takes its lock at once.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "cache_size=-65536",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("surgate_write") else "BEGIN")

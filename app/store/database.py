"""The database: one engine per process, reads and writes as distinct transactions. SQLite (`app.store.sqlite`) or PostgreSQL (`app.store.postgres`),
with the same code above."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.store import locks, postgres, sqlite
from app.store.postgres import Limits
from app.store.turns import Turns

AWAY = (SQLAlchemyError, OSError, TimeoutError)
"""What is raised where the database cannot be reached, or does not do what it is asked."""

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

    A transaction that was committed is on stable storage: SQLite runs in WAL mode with synchronous=FULL, PostgreSQL with synchronous_commit=on.
    """

    def __init__(
        self,
        url: str,
        committed: Callable[[Head], object] | None = None,
        enqueued: Callable[[], object] | None = None,
        limits: Limits | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        """`limits` count for PostgreSQL alone; `at_once` for SQLite, see `apart`."""
        self._url = url
        self._committed = committed
        self._enqueued = enqueued
        self.changed: Callable[[str, int], object] | None = None
        self.embedded = url.startswith("sqlite")
        self._turns = Turns(Path(make_url(url).database or "")) if self.embedded else None
        self.engine: AsyncEngine = sqlite.engine(url, at_once=at_once) if self.embedded else postgres.engine(url, limits or Limits())
        self._reader = sqlite.reader(self.engine) if self.embedded else postgres.reader(self.engine)
        self._writer = sqlite.writer(self.engine) if self.embedded else postgres.writer(self.engine)

    def apart(self, tell: Callable[..., object]) -> Database:
        """The embedded store by one connection of its own, each of whose calls holds up the thread: for a thread that does nothing else. What is to be told
        of its transactions is given to `tell`: a function and what it takes."""
        committed = None if self._committed is None else partial(tell, self._committed)
        enqueued = None if self._enqueued is None else partial(tell, self._enqueued)
        return Database(self._url, committed, enqueued, at_once=True)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: one consistent state."""
        async with self._reader.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def write(
        self, lock: str | None, prepare: Callable[[AsyncConnection], Awaitable[None]] | None = None
    ) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes; committed at the end, rolled back where anything raises.

        What it reads cannot change before it writes, as long as everybody who writes that takes the same `lock`: a hospital's code for what is
        the hospital's, another word for what is none's. None: it takes the locks that it needs itself. SQLite has one writer, whatever the lock.

        `prepare` is called before, without the lock: what it puts into temporary tables of the connection is at hand in the transaction and gone
        afterwards.
        """
        async with AsyncExitStack() as held:
            if prepare is None:
                # Before the connection: who waits for a long transaction must not keep the readers' connections meanwhile.
                await held.enter_async_context(self.turn())
            connection = await held.enter_async_context((self.engine if prepare is not None else self._writer).connect())
            noted = connection.info[_NOTED] = _Noted()
            try:
                if prepare is not None:
                    async with connection.begin():
                        await prepare(connection)
                    connection = await connection.execution_options(**self._writer.get_execution_options())
                    await held.enter_async_context(self.turn())
                async with connection.begin():
                    locks.begin(connection)
                    if lock is not None:
                        await locks.take(connection, locks.Lock.OFFICE, [lock])
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

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among what writes in this process, for what goes by `apart`: that takes the turn itself."""
        async with nullcontext() if self._turns is None else self._turns.here:
            yield

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn at writing to the embedded store; PostgreSQL's locks have a queue of their own."""
        async with nullcontext() if self._turns is None else self._turns.turn():
            yield

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()
        if self._turns is not None:
            self._turns.close()


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

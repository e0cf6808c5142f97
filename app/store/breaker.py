"""Asking the database with a limit to the patience: an outage costs one time-out, not one per check."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from app.errors import StoreAway
from app.store.database import Database
from app.store.reach import settled
from app.telemetry.meters import Meters

PROBE_SECONDS = 0.5
"""How often a database that was away is looked for."""

MAX_PROBES = 3
"""Probes that hang at once, each with a connection, before no further one is sent."""

_Answer = TypeVar("_Answer")
_log = logging.getLogger("surgate.store")


_REFUSALS = ("22", "23", "54")
"""Classes of SQLSTATE that are about what was written: data exceptions, integrity constraints, what is too large for an index."""


def refuses(error: BaseException) -> bool:
    """Whether the database (or its driver) refuses what it was given, and would do so again, rather than that it cannot be asked."""
    state = getattr(getattr(error, "orig", error), "sqlstate", None)  # drivers raise errors of their own while they connect
    if isinstance(state, str):
        return state[:2] in _REFUSALS
    if isinstance(error, DBAPIError):
        return isinstance(error, IntegrityError | DataError)
    return isinstance(error, StatementError | ValueError | TypeError | ArithmeticError)


class Breaker:
    """Lets callers at the database, and keeps them from it after a failure until a probe got through."""

    def __init__(self, database: Database, reach_seconds: float, meters: Meters | None = None) -> None:
        """`reach_seconds`: how long one answer may take."""
        self._database = database
        self._reach_seconds = reach_seconds
        self._meters = meters or Meters()
        self._closed = True
        self._probing: asyncio.Task[None] | None = None
        self._pending: set[asyncio.Task[Any]] = set()

    @property
    def closed(self) -> bool:
        """Whether the database is asked."""
        return self._closed

    async def reach(self, ask: Callable[[], Coroutine[Any, Any, _Answer]]) -> _Answer:
        """What the database answers.

        What does not answer in time is not cancelled, since whoever cancels a commit does not know what became of it; it is left to end by itself.

        Raises:
            StoreAway: it failed, was too slow, or is not asked now.
        """
        if not self._closed:
            raise StoreAway("not asked")
        task = self._task(ask())
        try:
            return await self._answer(task)
        except Exception as error:
            if not refuses(error):
                self._open(error)
            raise StoreAway(type(error).__name__) from error

    async def stop(self) -> None:
        """Let what still hangs end, and give it up after the time that one answer may take."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait({self._probing})
        if self._pending:
            await asyncio.wait(self._pending, timeout=self._reach_seconds)
        for task in self._pending:
            task.cancel()
        if self._pending:
            await asyncio.wait(self._pending, timeout=self._reach_seconds)

    async def _answer(self, task: asyncio.Task[_Answer]) -> _Answer:
        if not await settled(task, self._reach_seconds):
            raise TimeoutError
        return task.result()

    def _task(self, coroutine: Coroutine[Any, Any, _Answer]) -> asyncio.Task[_Answer]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._pending.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: who waited for it has been told, or has given it up

    def _open(self, error: BaseException) -> None:
        if self._closed:
            self._closed = False
            self._meters.store_away.set(1)
            _log.error("the database is away: %s", type(error).__name__)
            self._probing = asyncio.get_running_loop().create_task(self._probe_until_back())

    async def _probe_until_back(self) -> None:
        probes: set[asyncio.Task[None]] = set()
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            probes = {probe for probe in probes if not probe.done()}
            if len(probes) >= MAX_PROBES:
                continue
            probe = self._task(self._probe())
            try:
                await self._answer(probe)
            except Exception:  # noqa: BLE001 - whatever it is, the database is not back
                probe.cancel()
                probes.add(probe)
                continue
            self._closed = True
            self._meters.store_away.set(0)
            _log.warning("the database is back")
            return

    async def _probe(self) -> None:
        async with self._database.read() as connection:
            await connection.execute(text("SELECT seq FROM changes LIMIT 1"))

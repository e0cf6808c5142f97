"""A way of one's own to the database for what every check waits for: the group commit, and the look-ups before it.

PostgreSQL's driver waits on a socket, and the event loop goes on meanwhile: there the way is the database itself. SQLite's calls block, so that each
is handed to a thread, five hand-overs a statement; a group would be mostly that. Here the transaction as a whole runs in a thread, with a loop and a
connection of its own, and is handed over once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Any, TypeVar

from app.store.database import Database
from app.store.reach import settled

STOP_SECONDS = 10.0
"""How long a stop waits for a call that has not ended. What it was writing is answered by nobody then."""

_Made = TypeVar("_Made")
_log = logging.getLogger("surgate.store")


class Lane:
    """One way to the database. `start` it before use and `stop` it at the end; what runs is ended first."""

    def __init__(self, database: Database, name: str, *, writes: bool) -> None:
        """`name`: the thread's; `writes`: it takes its turn with what else writes in this process."""
        self._database = database
        self._name = name
        self._writes = writes
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._own: Database | None = None

    def start(self) -> None:
        """Begin, in the loop that will ask."""
        if not self._database.embedded:
            return
        # What is told so comes before what the transaction gives: who waits for that goes on when the head is written.
        self._own = self._database.apart(asyncio.get_running_loop().call_soon_threadsafe)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
        self._thread.start()

    async def run(self, transaction: Callable[[Database], Coroutine[Any, Any, _Made]]) -> _Made:
        """What a transaction gives that is made with the database. Once begun it is not cancelled."""
        if self._own is None or self._loop is None:
            return await transaction(self._database)
        async with self._database.place() if self._writes else nullcontext():
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(transaction(self._own), self._loop))

    async def stop(self) -> None:
        """End."""
        if self._own is None or self._loop is None or self._thread is None:
            return
        own, loop, thread = self._own, self._loop, self._thread
        self._own = None
        closing = asyncio.run_coroutine_threadsafe(_end(own), loop)
        if not await settled(asyncio.wrap_future(closing), STOP_SECONDS):
            _log.error("%s: the disk does not answer, the thread is left behind", self._name)
            return
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        loop.close()


async def _end(own: Database) -> None:
    """Close the way when everything that was begun on it has ended, so that nothing opens it again."""
    if begun := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(begun)
    await own.close()

"""Whose turn it is to write to the embedded store. SQLite has one writer, and who finds another one at it looks again after pauses of up to a tenth of a
second, so that a process which comes back to back with itself leaves the others next to nothing. Here they queue first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.store.file_lock import FileLock
from app.store.sqlite import BUSY_TIMEOUT_MS

AGAIN_SECONDS = 0.001
"""How often the process at the head of the queue looks whether the other one is done."""


class Turns:
    """One process's side of the queue. It is for fairness alone: what keeps two writers apart is SQLite's own lock."""

    def __init__(self, store: Path) -> None:
        """`store`: the store's file; the two files of the queue lie beside it."""
        self.here = asyncio.Lock()
        """The queue of this process alone: who has a way of its own to the store takes its place in it here, and its turn there."""
        # Who has had its turn and wants another finds `next` held by whoever waited meanwhile.
        self._next = FileLock(store.with_name(f"{store.name}-next"), store)
        self._turn = FileLock(store.with_name(f"{store.name}-turn"), store)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One turn, for who waits longest in this process, and in no fixed order among processes. Raises `TimeoutError` where another process does not
        end its own."""
        async with self.here:
            async with asyncio.timeout(BUSY_TIMEOUT_MS / 1000), _held(self._next):
                await _take(self._turn)
            try:
                yield
            finally:
                self._turn.release()

    def close(self) -> None:
        """Let go of the files."""
        self._next.close()
        self._turn.close()


@asynccontextmanager
async def _held(lock: FileLock) -> AsyncIterator[None]:
    await _take(lock)
    try:
        yield
    finally:
        lock.release()


async def _take(lock: FileLock) -> None:
    while not lock.acquire(0):  # noqa: ASYNC110 - another process lets it go
        await asyncio.sleep(AGAIN_SECONDS)

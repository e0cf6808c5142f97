"""Whether something answers in time, by a count that a freeze of this process does not hasten."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

SLICES = 10
"""Parts in which a time is waited. A process that was stopped for any while comes back to at most one of them having run out, so that its own
freeze is not taken for one of the other side."""

AT_START_SECONDS = 5.0
"""How long the database may take to answer a small question at the start of a service, before the snapshot is taken instead: a machine that has
just started is slow, and no check waits."""

_Made = TypeVar("_Made")


async def settled(task: asyncio.Future[Any], seconds: float) -> bool:
    """Wait for a task for that long; whether it has ended. It goes on otherwise."""
    for _ in range(SLICES):
        if (await asyncio.wait({task}, timeout=seconds / SLICES))[0]:
            return True
    return False


async def within(seconds: float, doing: Coroutine[Any, Any, _Made]) -> _Made:
    """What `doing` returns. Raises `TimeoutError` where that takes longer; it is then broken off, and left to end by itself: a connection on
    which nothing comes takes its time to be closed."""
    task = asyncio.create_task(doing)
    try:
        if not await settled(task, seconds):
            raise TimeoutError(f"no answer within {seconds} s")
        return task.result()
    finally:
        leave(task)


def leave(task: asyncio.Task[Any]) -> None:
    """Break a task off where it has not ended; nobody waits for it any more."""
    if not task.done():
        task.cancel()
        task.add_done_callback(_look_at)


def _look_at(task: asyncio.Task[Any]) -> None:
    """What became of a task that nobody waits for any more is of no interest."""
    if not task.cancelled():
        task.exception()

"""Keeps the node's snapshot up with what the workers hold. Every worker has one; they take turns."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from app.cache.live import Live
from app.cache.snapshot import Snapshot
from app.telemetry.meters import Meters

LOOK_SECONDS = 1.0
"""How often it looks for what has changed."""

_log = logging.getLogger("surgate.snapshot")


class Keeper:
    """Writes the snapshot for one worker, in a thread of its own, so that the loop goes on."""

    def __init__(self, live: Live, snapshot: Snapshot, meters: Meters | None = None) -> None:
        self._live = live
        self._snapshot = snapshot
        self._meters = meters or Meters()
        self._thread = ThreadPoolExecutor(1, "surgate-snapshot")
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.failing = ""

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._keep_forever())

    async def stop(self) -> None:
        """Finish the file that is being written, then stop."""
        self._stopping.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=False)

    async def keep(self) -> None:
        """Write down what is in force, where it can be known: while the log cannot be looked at, what was written last is what is known."""
        held = self._live.held()
        if held is None:
            return
        try:
            mine = await asyncio.get_running_loop().run_in_executor(self._thread, self._snapshot.keep, held)
        except OSError as error:
            self._failed(error)
            return
        if mine:
            self.failing = ""
            self._meters.snapshot_confirmed.set(time.time())

    def _failed(self, error: OSError) -> None:
        self._meters.snapshot_failures.add()
        if not self.failing:
            _log.error("the snapshot cannot be written: %s", type(error).__name__, extra={"folder": str(self._snapshot.folder)})
        self.failing = f"not written: {type(error).__name__}"

    async def _keep_forever(self) -> None:
        while not self._stopping.is_set():
            await self.keep()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._stopping.wait()
            except TimeoutError:
                continue

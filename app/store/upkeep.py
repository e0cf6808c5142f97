"""What the store needs from time to time, done by one worker: the tables of the months to come, and the sent notifications of long ago deleted."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from app.store import duties, outbox, partitions
from app.store.database import AWAY, Database

DUTY = "upkeep"
LOOK_SECONDS = 600.0

KEPT_SENT = timedelta(days=30)
"""For how long it can be seen that a notification was delivered. What it told is in the record of its override, which stays."""

_log = logging.getLogger("surgate.store")


class Upkeep:
    """Looks after the store for all workers."""

    def __init__(self, database: Database, worker: str) -> None:
        self._database = database
        self._worker = worker
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Begin to look after it."""
        self._task = asyncio.create_task(self._look_forever())

    async def stop(self) -> None:
        """Stop."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def look(self, now: datetime) -> None:
        """Do what is due, unless another worker does. Raises what the store raises."""
        async with self._database.write(DUTY) as connection:
            if not await duties.hold(connection, DUTY, self._worker):
                return
            gone = await outbox.forget_sent(connection, (now - KEPT_SENT).isoformat(timespec="microseconds"))
        # By itself: where somebody reads for long no table can be made now, and all of that transaction is taken back.
        async with self._database.write(DUTY) as connection:
            made = await partitions.make(connection, now)
        if made or gone:
            _log.info("the store was looked after", extra={"tables": made, "notifications_deleted": gone})

    async def _look_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.look(datetime.now(UTC))
            except AWAY as error:
                _log.warning("the store could not be looked after: %s", type(error).__name__)  # the next look does it
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._stopping.wait()
            except TimeoutError:
                continue

"""The lease under which a worker trusts its memory without looking at the change log (`app.store.changes`)."""

from __future__ import annotations

import asyncio
import logging

from app.store import changes
from app.store.changes import since_boot
from app.store.database import AWAY, Database
from app.store.reach import settled, within

EXTEND_SECONDS = 0.5
"""How long a check waits for a lease that has run out, where the only change is one that is still being read."""

RENEW_SECONDS = 30.0
"""How long one renewal may take; it is given up then, and the next one goes by another connection. On one that a network forgot nothing ever comes back.
As long as a writer waits for SQLite's other one at most."""

ACKNOWLEDGE_AFTER = 0.4
"""Share of the lease after which it is renewed although nothing changed."""

_log = logging.getLogger("surgate.live")


class Lease:
    """One worker's lease."""

    def __init__(self, database: Database, worker: str, seconds: float) -> None:
        self._database = database
        self._worker = worker
        self._seconds = seconds
        self._until = 0.0
        self._acknowledged: int | None = None
        self._renewing: asyncio.Task[None] | None = None

    @property
    def runs(self) -> bool:
        """Whether the memory is trusted."""
        return since_boot() < self._until

    def end(self) -> None:
        """Trust the memory no more until it has been held against the log."""
        self._until = 0.0

    def renew(self, seq: int, *, lingering: bool) -> None:
        """Begin to acknowledge a version, where it is time: beside the looks, since it writes, and a disk or a lock may hold that up while the log can
        be read. `lingering`: it is not the last one, see `changes.linger`."""
        if self._renewing is not None and not self._renewing.done():
            return
        due = self._until - (1 - ACKNOWLEDGE_AFTER) * self._seconds
        if self._acknowledged != seq or since_boot() > due:
            self._renewing = asyncio.create_task(self._renew(seq, lingering))

    async def extend(self, seq: int) -> bool:
        """Ask now for a lease on a version that is not the last one; whether there is one. The transaction of an import holds up every other writer, and
        leases run out meanwhile."""
        if not self.runs:
            await self.settled(EXTEND_SECONDS)
            self.renew(seq, lingering=True)
            await self.settled(EXTEND_SECONDS)
        return self.runs

    async def settled(self, seconds: float | None = None) -> None:
        """Wait for a renewal that is under way: for that long, or until it has ended."""
        if self._renewing is None:
            return
        if seconds is None:
            await asyncio.wait({self._renewing})
        else:
            await settled(self._renewing, seconds)

    async def sign_off(self) -> None:
        """The worker stops: nobody waits for it any more. Raises what the database raises."""
        self._until = 0.0
        async with self._database.write(None) as connection:
            await changes.sign_off(connection, self._worker)

    async def _renew(self, seq: int, lingering: bool) -> None:
        try:
            await within(RENEW_SECONDS, self._write(seq, lingering))
        except AWAY as error:
            # The lease runs out, and every check looks for itself.
            _log.debug("not acknowledged: %s", type(error).__name__)
        else:
            self._acknowledged = seq

    async def _write(self, seq: int, lingering: bool) -> None:
        # The lease is counted from before it is asked for: what the others wait for never ends before what this worker trusts.
        began = since_boot()
        say = changes.linger if lingering else changes.acknowledge
        async with self._database.write(None) as connection:
            # Since the log was read the process may have been frozen for any time, and a change may have returned without waiting for it. Then
            # there is no lease, and every check looks for itself.
            given = await say(connection, self._worker, seq, self._seconds)
        if given:
            self._until = began + self._seconds

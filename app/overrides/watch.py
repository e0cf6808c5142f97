"""What the gateway does about overrides by itself: it counts those that wait, and reminds the office of reports that were not made and of reviews
that are overdue. One worker reminds, every worker counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache.live import Live
from app.cache.live_hospital import LiveHospital
from app.errors import StoreAway
from app.overrides.life import REMIND
from app.overrides.told import Notifier, told_of
from app.store import duties, locks
from app.store import overrides as store
from app.store.database import AWAY, Database
from app.store.locks import Lock
from app.store.overrides import Stored
from app.telemetry.meters import Meters

_log = logging.getLogger("surgate.overrides")

LOOK_SECONDS = 10.0
"""How often it looks. Times here are minutes and days; a dashboard may lag by this."""

UNREPORTED = timedelta(minutes=30)
"""How long an override may be without a report before the office is reminded. "Now" is what the obligation says; the surgeon is operating."""

AGAIN = timedelta(days=1)
"""A reminder is repeated daily: more often it is noise, and noise is muted."""

MAX_REMINDERS = 100
"""Reminders in one transaction, so that a gateway that was off for weeks does not hold the write lock while it catches up."""

DUTY = "remind"


class Watch:
    """Looks after overrides for one worker."""

    def __init__(self, database: Database, live: Live, worker: str, notify: Notifier, meters: Meters) -> None:
        self._database = database
        self._live = live
        self._worker = worker
        self._notify = notify
        self._meters = meters
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look_forever())

    async def stop(self) -> None:
        """Finish what was begun, then stop."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def look(self, now: datetime | None = None) -> int:
        """Count what waits and remind of what is due; how many were reminded of. Raises what the store raises."""
        instant = now or datetime.now(UTC)
        async with self._database.read() as connection:
            self._meters.overrides_waiting(self._live.settings, await store.waiting(connection, _text(instant)))
            concerned = {one.hospital for one in await _due(connection, instant, MAX_REMINDERS)}
        return await self._remind(instant, {code: await self._live.hospital(code) for code in concerned}) if concerned else 0

    async def _remind(self, now: datetime, concerned: Mapping[str, LiveHospital]) -> int:
        async with self._database.write(DUTY) as connection:
            if not await duties.hold(connection, DUTY, self._worker):
                return 0
            await locks.take(connection, Lock.OFFICE, concerned.keys())
            await locks.take(connection, Lock.CHAIN, concerned.keys())
            # Looked at again: a report may have come while this one waited.
            due = [one for one in await _due(connection, now, MAX_REMINDERS) if one.hospital in concerned]
            for one in due:
                await self._remind_of(connection, concerned[one.hospital], one, now)
        return len(due)

    async def _remind_of(self, connection: AsyncConnection, live: LiveHospital, one: Stored, now: datetime) -> None:
        because = _because(one, _text(now))
        told = told_of(live, one, one.state, REMIND, "", note=", ".join(because))
        await store.remind(connection, one, _text(now), because, self._notify(live, told, now))

    async def _look_forever(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.look()
            except (*AWAY, StoreAway) as error:
                # Nothing is lost: what is due stays due, and the next look finds it.
                _log.warning("overrides could not be looked after: %s", type(error).__name__)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._stopping.wait()
            except TimeoutError:
                continue


async def _due(connection: AsyncConnection, now: datetime, limit: int) -> list[Stored]:
    return await store.to_remind(connection, _text(now), _text(now - UNREPORTED), _text(now - AGAIN), limit)


def _because(one: Stored, now: str) -> Sequence[str]:
    return [reason for reason, holds in (("unreported", not one.reported), ("overdue", one.overdue(now))) if holds]


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")

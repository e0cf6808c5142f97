"""Delivery: the outbox's messages on their way to the hospitals' targets.

One worker at a time does it, under the duty `deliver`. What is on its way is in the database alone: a message is marked as sent after it was
acknowledged, so that nothing is lost by a restart, and one may come twice (`Surgate-Id` tells). Per override and target the order is kept;
beyond that nothing waits for anything else: each target has `MAX_PER_TARGET` messages on their way at once, whatever another one does.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache.live import Live
from app.notify.formats import KINDS, outgoing, refusal
from app.notify.targets import Target, target_by
from app.store import duties, outbox
from app.store.database import AWAY, Database
from app.store.outbox import Due
from app.telemetry.meters import Meters

DUTY = "deliver"
POLL_SECONDS = 0.5
"""How often the outbox is looked at for what another worker put in, and for what is to be tried again."""

RENEW_SECONDS = duties.LEASE_SECONDS / 3
MAX_PER_TARGET = 4
"""Robots take 20 messages a minute, and a target that hangs must not hold many connections."""

MAX_RETRY_SECONDS = 900.0
MAX_ANSWER_BYTES = 64 * 1024
"""Read of an answer; an acknowledgement is a few bytes."""

STOP_SECONDS = 2.0
"""How long a stop waits for messages on their way; what is not acknowledged by then is sent again after the start."""

_log = logging.getLogger("surgate.notify")

Step = Callable[[AsyncConnection], Awaitable[None]]


class Deliverer:
    """Delivers for one worker, while it holds the duty."""

    def __init__(
        self, database: Database, live: Live, worker: str, *, timeout_seconds: float, retry_seconds: float, attempts: int, meters: Meters
    ) -> None:
        self._database = database
        self._live = live
        self._worker = worker
        self._timeout_seconds = timeout_seconds
        self._retry_seconds = retry_seconds
        self._attempts = attempts
        self._meters = meters
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._held_until = 0.0
        self._renew_at = 0.0
        self._under_way: dict[tuple[str, str], dict[int, asyncio.Task[None]]] = defaultdict(dict)
        self._sending: set[asyncio.Task[str | None]] = set()
        self._client: httpx.AsyncClient | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._client = httpx.AsyncClient(timeout=self._timeout_seconds, follow_redirects=False, headers={"Accept-Encoding": "identity"})
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Something new is in the outbox."""
        self._wake.set()

    async def stop(self) -> None:
        """Let what is on its way arrive, for a moment; then let another worker deliver."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            await self._task
        tasks = [task for lane in self._under_way.values() for task in lane.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for sending in self._sending:  # only what waits for the other side: never a transaction
                sending.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
        if self._holds():
            await self._lay_down()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                await self._renew()
                if self._holds():
                    await self._send_what_is_due()
            except AWAY as error:
                _log.warning("the outbox cannot be read: %s", type(error).__name__)
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _holds(self) -> bool:
        return time.monotonic() < self._held_until

    async def _renew(self) -> None:
        """Take or renew the duty, where it is time."""
        began = time.monotonic()
        if began < self._renew_at:
            return
        async with self._database.write(DUTY) as connection:
            held = await duties.hold(connection, DUTY, self._worker)
            counts = await outbox.counts(connection) if held else {}
        # Counted from before it was written down: it never ends here after it has ended for the others.
        self._held_until = began + duties.LEASE_SECONDS if held else 0.0
        self._renew_at = began + RENEW_SECONDS
        self._meters.outbox(counts)

    async def _send_what_is_due(self) -> None:
        now = _text(datetime.now(UTC))
        found: list[Due] = []
        # Noted before the transaction sees its state: what is acknowledged meanwhile still waits in it, and must not be sent again.
        under_way = {lane: tuple(sending) for lane, sending in self._under_way.items()}
        async with self._database.read() as connection:
            for lane in await outbox.lanes(connection, now):
                busy = under_way.get(lane, ())
                room = MAX_PER_TARGET - len(busy)
                if room > 0:
                    found += await outbox.due(connection, lane, now, busy, room)
        for due in found:
            self._under_way[due.hospital, due.target][due.seq] = asyncio.create_task(self._deliver(due))

    async def _deliver(self, due: Due) -> None:
        """One try of one message, and what came of it."""
        try:
            await self._settle(due, await self._outcome(due))
        finally:
            del self._under_way[due.hospital, due.target][due.seq]
        self._wake.set()

    async def _outcome(self, due: Due) -> Step | None:
        """What is to be written down about a try; None where it was broken off."""
        try:
            target = await self._target(due)
        except AWAY as error:
            return self._failed(due, type(error).__name__)
        if target is None:
            return self._dead(due, "no such target in the hospital's settings any more")
        if target.kind not in KINDS:
            return self._dead(due, "unknown kind of target")
        sending = asyncio.create_task(self._send(target, due))
        self._sending.add(sending)
        await asyncio.wait([sending])
        self._sending.discard(sending)
        if sending.cancelled():
            return None
        defect = sending.exception()
        if defect is not None:
            _log.error("a notification could not be made", exc_info=defect, extra={"notification": due.seq})
        refused = sending.result() if defect is None else type(defect).__name__
        self._meters.notified(target.kind, "sent" if refused is None else "failed")
        if refused is None:
            return lambda connection: outbox.mark_sent(connection, due.seq, _text(datetime.now(UTC)))
        return self._failed(due, refused)

    async def _target(self, due: Due) -> Target | None:
        """The target as the settings have it now: this worker may not have seen yet what another one reads already."""
        if (target := self._known_target(due)) is None:
            await self._live.look()
            target = self._known_target(due)
        return target

    def _known_target(self, due: Due) -> Target | None:
        settings = self._live.settings.get(due.hospital)
        return None if settings is None else target_by(settings, due.target)

    def _failed(self, due: Due, error: str) -> Step:
        if due.attempts + 1 >= self._attempts:
            return self._dead(due, error)
        next_at = _text(datetime.now(UTC) + timedelta(seconds=self._pause(due.attempts)))
        return lambda connection: outbox.mark_failed(connection, due.seq, error, next_at)

    def _dead(self, due: Due, error: str) -> Step:
        _log.error("a notification is given up", extra={"notification": due.seq, "target": due.target, "reason": error})
        return lambda connection: outbox.mark_dead(connection, due.seq, error, _text(datetime.now(UTC)))

    async def _send(self, target: Target, due: Due) -> str | None:
        """Send it once; None where it was acknowledged, otherwise why not. No text of an error: it can hold the URL, and that a key."""
        assert self._client is not None
        sent = outgoing(target, due, time.time())
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),  # as a whole: a target may also answer byte by byte
                self._client.stream("POST", sent.url, headers=dict(sent.headers), content=sent.body) as answer,
            ):
                return refusal(target, answer.status_code, await _beginning(answer))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return "no answer in time" if isinstance(error, TimeoutError | httpx.TimeoutException) else type(error).__name__

    def _pause(self, attempts: int) -> float:
        """Seconds until the next try: doubled each time, spread out so that many that failed together don't come together."""
        longest = min(MAX_RETRY_SECONDS, self._retry_seconds * 2.0 ** min(attempts, 60))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 — nothing is secret about it

    async def _settle(self, due: Due, step: Step | None) -> None:
        """Write down what came of a try. What was acknowledged and cannot be marked so, because the disk is full, is not sent again and again:
        it is held until it can be."""
        while step is not None:
            try:
                async with self._database.write(None) as connection:
                    await step(connection)
                return
            except AWAY as error:
                _log.warning("the outbox cannot be written: %s", type(error).__name__, extra={"notification": due.seq})
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._stopping.wait()
                return
            except TimeoutError:
                continue

    async def _lay_down(self) -> None:
        try:
            async with self._database.write(DUTY) as connection:
                await duties.lay_down(connection, DUTY, self._worker)
        except AWAY as error:
            # Nothing is lost: the lease runs out by itself.
            _log.warning("the duties could not be laid down: %s", type(error).__name__)


async def _beginning(answer: httpx.Response) -> bytes:
    """An answer's first bytes as they come, never unpacked: a few of them could unpack to anything."""
    found = b""
    async for chunk in answer.aiter_raw():
        found += chunk
        if len(found) > MAX_ANSWER_BYTES:
            break
    return found[:MAX_ANSWER_BYTES]


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")

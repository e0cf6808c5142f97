"""What happens in the hospitals that somebody listens to, looked up once for all streams of a worker."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Overloaded
from app.store import events
from app.store.database import AWAY, Database
from app.store.events import Happened
from app.store.keys import Key
from app.telemetry.meters import Meters

POLL_SECONDS = 0.2
PAGE = 200
"""Entries read, and sent, at once."""

MAX_RECENT = 1000
"""Entries kept per hospital for the streams that keep up; a stream that is further behind reads from the store."""

MAX_OF_ONE_KEY = 25
"""Streams of one key, of all that a worker takes: a screen that reconnects in a loop must not take the place of the others."""

MAX_READERS = 2
"""Streams that read from the store at once: they must not take the connections that checks need."""


class _Line:
    """A hospital that somebody listens to."""

    def __init__(self, number: int) -> None:
        self.streams = 0
        self.number = number
        self.recent: deque[Happened] = deque(maxlen=MAX_RECENT)
        self.moved = asyncio.Event()

    def add(self, found: list[Happened]) -> None:
        if found[0].number != self.number + 1:
            self.recent.clear()
        self.recent.extend(found)
        self.number = found[-1].number
        self.wake()

    def wake(self) -> None:
        self.moved.set()
        self.moved = asyncio.Event()


class Feed:
    """Tells the streams of one worker what happens."""

    def __init__(self, database: Database, max_streams: int, meters: Meters) -> None:
        self._database = database
        self._max_streams = max_streams
        self._meters = meters
        self._lines: dict[str, _Line] = {}
        self._readers = asyncio.Semaphore(MAX_READERS)
        self._task: asyncio.Task[None] | None = None
        self._streams = 0
        self._of_key: Counter[str] = Counter()
        self.closing = asyncio.Event()

    def check_room(self, key: Key, hospitals: int) -> None:
        """Raises `Overloaded` where there is no room for one more stream of that key, or the worker stops. `hospitals`: how many are served; where
        there are several, none may hold more than half of the streams, which stay open for hours."""
        line = self._lines.get(key.hospital)
        of_hospital = 0 if line is None else line.streams
        most = self._max_streams if hospitals == 1 else max(1, self._max_streams // 2)
        full = self._streams >= self._max_streams or of_hospital >= most or self._of_key[key.id] >= MAX_OF_ONE_KEY
        if self.closing.is_set() or full:
            raise Overloaded("事件流已满 / too many event streams")

    @contextmanager
    def listening(self, key: Key, number: int) -> Iterator[None]:
        """For as long as a stream is open. `number`: where it begins."""
        hospital = key.hospital
        line = self._lines.setdefault(hospital, _Line(number))
        line.streams += 1
        self._of_key[key.id] += 1
        self._count(1)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            line.streams -= 1
            self._of_key[key.id] -= 1
            if not self._of_key[key.id]:
                del self._of_key[key.id]
            self._count(-1)
            if not line.streams:
                del self._lines[hospital]

    async def after(self, hospital: str, number: int) -> list[Happened]:
        """What happened after a number, at most a page. Raises what the store raises."""
        recent = self._lines[hospital].recent
        if recent and recent[0].number <= number + 1:
            begin = number + 1 - recent[0].number
            return [recent[index] for index in range(begin, min(begin + PAGE, len(recent)))]
        async with self._readers, self._database.read() as connection:
            return await events.page(connection, hospital, number, PAGE)

    def moved(self, hospital: str, number: int) -> asyncio.Event:
        """Set when something happened after that number."""
        line = self._lines[hospital]
        if line.number > number:
            already = asyncio.Event()
            already.set()
            return already
        return line.moved

    def close(self) -> None:
        """Let every stream end, and take no new one."""
        self.closing.set()

    async def stop(self) -> None:
        """Stop looking."""
        self.close()
        if self._task is not None:
            await self._task

    def _count(self, difference: int) -> None:
        self._streams += difference
        self._meters.event_streams.add(difference)

    async def _poll(self) -> None:
        while self._lines and not self.closing.is_set():
            more = False
            for hospital, line in list(self._lines.items()):
                try:
                    async with self._database.read() as connection:
                        found = await events.page(connection, hospital, line.number, PAGE)
                except AWAY:
                    continue  # looked up again; a stream that reads for itself ends, and its reader comes back
                if found:
                    line.add(found)
                more = more or len(found) == PAGE
            if not more:
                await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self.closing.wait()
        except TimeoutError:
            return

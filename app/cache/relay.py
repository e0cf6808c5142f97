"""The relay: what one worker has to do with Redis. It reads the matrix there, writes there what changed in the database, and tells and hears by the
feed that the change log moved.

Redis is never the truth. Where it is away, behind, emptied, rolled back or of another database, the marks say so: readers go to the database, and
writers bring Redis to where the database is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache.changed import Changed
from app.cache.packed import LAYOUT
from app.cache.redis_address import Address
from app.cache.redis_client import Away, Way
from app.cache.redis_feed import Feed
from app.cache.redis_rows import MAX_PEOPLE, Rows
from app.engine.model import Person
from app.store import changes, duties, hospitals
from app.store.changes import Mark
from app.store.database import AWAY, Database
from app.store.hospitals import Itself, Loaded
from app.telemetry.meters import Meters

DUTY = f"publish {LAYOUT}"
"""While two versions run whose rows differ, one worker of each has it for the rows of its own."""

REPAIR_SECONDS = duties.LEASE_SECONDS / 3
"""How often the worker that has the duty looks whether Redis has every hospital as the database has it, and keeps it there."""

ATTEMPTS = 5
"""How often a hospital is tried to be brought to Redis while others write it too. The duty looks again."""

_Made = TypeVar("_Made")
_Step: TypeAlias = tuple[Itself | None, dict[str, Person], frozenset[str]]
"""What a hospital now is but for its people where that changed, the rows of people as they now are, and who has left the register."""

_log = logging.getLogger("surgate.redis")


class Relay:
    """Redis for one worker."""

    def __init__(self, database: Database, address: Address, worker: str, meters: Meters) -> None:
        self._database = database
        self._worker = worker
        self._meters = meters
        self._way = Way(address, meters)
        # A thread of its own: behind a long import in the shared ones a change would not come into force.
        self._thread = ThreadPoolExecutor(1, "surgate-relay")
        self._rows = Rows(self._way, self._aside)
        self._feed = Feed(self._way)
        self._due: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._duty: asyncio.Task[None] | None = None

    def start(self, marks: Callable[[], Mapping[str, Mark]], heard: Callable[[int], None]) -> None:
        """Begin to listen and to publish. `marks`: the last change of every hospital's matrix, as this worker knows it; `heard` is told how far the
        log is."""
        self._database.changed = self.changed
        self._feed.start(heard)
        self._duty = asyncio.create_task(self._repair_forever(marks))

    async def stop(self) -> None:
        """Stop. What was not published, another worker publishes."""
        self._stopping.set()
        self._database.changed = None
        await self._feed.stop()
        await self._way.close()  # whoever is publishing ends by this
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if self._duty is not None:
            await self._duty
        self._thread.shutdown(wait=False)

    @property
    def is_heard(self) -> bool:
        """Whether a change that is published is heard of at once."""
        return self._feed.healthy

    async def whole(self, code: str, mark: Mark) -> Loaded | None:
        """A hospital as that change left it; None where Redis does not have it so."""
        return await self._read("hospital", self._rows.whole(code, mark))

    async def some(
        self, code: str, mark: Mark, numbers: Collection[str], *, itself: bool
    ) -> tuple[Itself | None, dict[str, Person]] | None:
        """See `Rows.some`; None too where Redis is away."""
        return await self._read("people", self._rows.some(code, mark, numbers, itself=itself))

    async def _read(self, what: str, reading: Awaitable[_Made | None]) -> _Made | None:
        found = None
        with contextlib.suppress(Away):  # told by the way itself
            found = await reading
        self._meters.read(what, "database" if found is None else "redis")
        return found

    async def _aside(self, make: Callable[[], _Made]) -> _Made:
        return await asyncio.get_running_loop().run_in_executor(self._thread, make)

    def changed(self, code: str, seq: int) -> None:
        """A change was committed: publish it, then tell everybody."""
        self._due[code] = seq
        self._begin(code, self._publish_what_is_due)

    def offer(self, loaded: Loaded) -> None:
        """Write to Redis what was read from the database, where it is not there."""
        self._begin(loaded.itself.hospital.code, lambda code: self._publish(code, loaded))

    def _begin(self, code: str, work: Callable[[str], Awaitable[None]]) -> None:
        if code in self._tasks or self._stopping.is_set():
            return
        task = self._tasks[code] = asyncio.create_task(self._quietly(code, work))
        task.add_done_callback(lambda _: self._tasks.pop(code))
        task.add_done_callback(lambda _: self._begin(code, self._publish_what_is_due) if code in self._due else None)

    async def _quietly(self, code: str, work: Callable[[str], Awaitable[None]]) -> None:
        try:
            await work(code)
        except Away:
            return  # told by the way itself
        except AWAY as error:
            _log.warning("a hospital could not be brought to Redis: %s", type(error).__name__, extra={"hospital": code})

    async def _publish_what_is_due(self, code: str) -> None:
        seq = self._due.pop(code, 0)
        await self._publish(code)
        await self._feed.tell(seq)

    async def _publish(self, code: str, read: Loaded | None = None) -> None:
        """Bring Redis to where the database is with a hospital. `read`: what was read of it a moment ago."""
        for _ in range(ATTEMPTS):
            base = await self._rows.complete(code)
            if await self._bring(code, base, read):
                return

    async def _bring(self, code: str, base: Mark | None, read: Loaded | None) -> bool:
        """From `base` to where the database is, or anew; False where another one has moved it meanwhile."""
        async with self._database.read() as connection:
            mark = await changes.mark(connection, code)
            step = None if base is None or base == mark else await _step(connection, code, base)
        if base == mark:
            return True
        if base is not None and step is not None:
            return await self._rows.put(code, base, mark, *step)
        return await self._anew(code, base, read if read is not None and read.mark == mark else None)

    async def _anew(self, code: str, base: Mark | None, read: Loaded | None) -> bool:
        if not await self._rows.may_write(code, self._worker):
            return True  # another worker is at it
        try:
            loaded = read
            if loaded is None:
                async with self._database.read() as connection:
                    loaded = await hospitals.load(connection, code)
            done = loaded is None or await self._rows.replace(code, base, loaded)
        finally:
            with contextlib.suppress(Away):
                await self._rows.written(code)
        if done:
            self._meters.rebuilt()
        return done

    async def _repair_forever(self, marks: Callable[[], Mapping[str, Mark]]) -> None:
        while not self._stopping.is_set():
            await self._quietly("", lambda _: self.repair(marks()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPAIR_SECONDS):
                    await self._stopping.wait()

    async def repair(self, marks: Mapping[str, Mark]) -> None:
        """Where this worker has the duty: bring to Redis every hospital that is not there as the database has it. Raises `Away`, and what the store
        raises."""
        if not self._way.up or not await self._mine():
            return
        for code, mark in tuple(marks.items()):
            if await self._rows.kept(code) != mark:
                if not await self._mine():
                    return
                await self._publish(code)

    async def _mine(self) -> bool:
        async with self._database.write(DUTY) as connection:
            return await duties.hold(connection, DUTY, self._worker)


async def _step(connection: AsyncConnection, code: str, base: Mark) -> _Step | None:
    """What has changed of a hospital since `base`; None where all of it has to be written anew, since that change is none of this database's, too."""
    if not await changes.was(connection, code, base):
        return None
    changed = Changed.since(await changes.since(connection, base.seq, code))[code]
    if changed.whole or len(changed.people) > MAX_PEOPLE:
        return None
    itself = await hospitals.load_itself(connection, code) if changed.itself else None
    people = await hospitals.load_people(connection, code, changed.people)
    return itself, people, changed.people - people.keys()

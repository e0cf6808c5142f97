"""What a worker judges by, in memory: each hospital compiled, its matrix, and the keys; kept up with the change log under a lease.

The worker looks at the log every few milliseconds, applies what is new, and says so in the table of workers together with a lease: until when
it will trust its memory without looking. A change that returns has waited for that (`store.changes.in_force`). When the lease has run out,
because the process was frozen or the store did not answer, the worker looks at the log before it judges anything.

A hospital comes into memory when it is first asked for, from Redis where that has it as the database does, otherwise from the database; it leaves
when others need the room. One of 400,000 grants takes seconds to read and to compile. It is read piece by piece and compiled in a thread, and what is
finished is put in the place of what was, so that no check ever sees half of a change. A change of some people is applied before the worker says that
it honours it; a change of everything puts the hospital out of memory, and only checks of that hospital wait until it is there again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, ParamSpec, TypeVar

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache.changed import Changed
from app.cache.relay import Relay
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import Hospital, MatrixState, Person
from app.store import changes, hospitals, keys
from app.store.changes import Mark
from app.store.database import Database
from app.telemetry.meters import Meters

_log = logging.getLogger("surgate.live")

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

ACKNOWLEDGE_AFTER = 0.4
"""Share of the lease after which it is renewed although nothing changed."""

MAX_GRANTS = 2_000_000
"""Grants in a worker's memory: about 600 MiB."""

LOOK_WHEN_TOLD = 0.2
"""Share of the lease after which the log is looked at where changes are heard of at once."""


class LiveHospital:
    """A hospital in memory, at one version: what it is, its people, and both compiled."""

    def __init__(self, compiled: CompiledHospital, settings: hospitals.Settings, people: dict[str, Person], matrix: Matrix) -> None:
        self.compiled = compiled
        self.settings = settings
        self.hospital: Hospital = compiled.source
        self.policy_version = hashlib.sha256(msgspec.json.encode(self.hospital.policy, order="deterministic")).hexdigest()[:12]
        self.people = people
        self.matrix = matrix
        self.version = matrix.state.version
        self.as_of = matrix.state.as_of.astimezone(UTC)
        self.grants = sum(len(person.grants) for person in people.values())

    @classmethod
    def of(cls, loaded: hospitals.Loaded, as_of: datetime) -> LiveHospital:
        """What was read, compiled."""
        state = _state(loaded.mark.seq, as_of, loaded.itself.hospital)
        return cls(CompiledHospital(loaded.itself.hospital), loaded.itself.settings, loaded.people, Matrix(loaded.people.values(), state))

    def changed(self, itself: hospitals.Itself | None, people: Mapping[str, Person], changed: Changed, as_of: datetime) -> LiveHospital:
        """The hospital after changes: `itself` where it is another one but for its people, `people` of those whose rows changed; who of them is not there
        has left the register."""
        compiled = self.compiled if itself is None else CompiledHospital(itself.hospital)
        settings = self.settings if itself is None else itself.settings
        gone = changed.people - people.keys()
        everybody = {number: person for number, person in self.people.items() if number not in gone} | dict(people)
        matrix = self.matrix.replace(people.values(), gone, _state(changed.version, as_of, compiled.source))
        return LiveHospital(compiled, settings, everybody, matrix)

    def confirm(self, as_of: datetime) -> None:
        """The memory was held against the log at that instant and is still right."""
        self.as_of = as_of
        self.matrix.state = _state(self.version, as_of, self.hospital)


def _state(version: int, as_of: datetime, hospital: Hospital) -> MatrixState:
    return MatrixState(version, as_of.astimezone(hospital.time_zone))


class _Read(NamedTuple):
    """A hospital that was read, and how far the log was then."""

    live: LiveHospital
    seq: int


class Live:
    """Everything that a worker holds in memory. `hospitals`: those that are in it, the one that was asked for last at the end."""

    def __init__(
        self,
        database: Database,
        worker: str,
        lease_seconds: float,
        follow_seconds: float,
        meters: Meters | None = None,
        relay: Relay | None = None,
        max_grants: int = MAX_GRANTS,
    ) -> None:
        """`relay`: the way to Redis, None where there is none. `max_grants`: how many grants are held at most; one hospital may have more."""
        self._database = database
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._follow_seconds = follow_seconds
        self._meters = meters or Meters()
        self._relay = relay
        self._max_grants = max_grants
        self._trusted_until = 0.0
        self._seq = 0
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._moved = asyncio.Event()
        # A thread of its own: behind a long import or export in the shared ones a change would not come into force.
        self._thread = ThreadPoolExecutor(1, "surgate-live")
        # Another one for whole hospitals: a change of one hospital does not wait for another one to be compiled.
        self._filler = ThreadPoolExecutor(1, "surgate-fill")
        self._filling: dict[str, asyncio.Task[None]] = {}
        self._marks: dict[str, Mark] = {}
        self.hospitals: dict[str, LiveHospital] = {}
        self.settings: dict[str, hospitals.Settings] = {}
        """Those of every hospital there is, in memory or not."""
        self.keys: dict[str, keys.Key] = {}

    async def start(self) -> None:
        """Begin to follow the log. The only hospital is in memory then; of several, as many as there is room for come after."""
        async with self._database.read() as connection:
            self._seq = await changes.latest(connection)
            as_of = datetime.now(UTC)
            self.settings = await hospitals.settings(connection)
            self._marks = await changes.marks(connection)
            self.keys = {key.id: key for key in await keys.load(connection)}
        if len(self.settings) == 1:
            await self._filled(*self.settings)
        self._meters.confirmed(self.hospitals, as_of)
        await self._acknowledge()
        if self._relay is not None:
            self._relay.start(lambda: self._marks, self.moved)
        self._task = asyncio.create_task(self._follow())
        if len(self.settings) > 1:
            self._warming = asyncio.create_task(self._warm())

    async def stop(self) -> None:
        """Stop following; changes do not wait for this worker any more."""
        # The task is asked, not cancelled: a transaction cancelled while it commits would still hold the write lock that signing off needs.
        self._stopping.set()
        self._moved.set()
        await asyncio.gather(
            *(task for task in (self._task, self._warming, *self._filling.values()) if task is not None), return_exceptions=True
        )
        if self._relay is not None:
            await self._relay.stop()
        self._thread.shutdown(wait=False)
        self._filler.shutdown(wait=False)
        self._trusted_until = 0.0
        try:
            async with self._database.write(None) as connection:
                await changes.sign_off(connection, self._worker)
        except (SQLAlchemyError, OSError) as error:
            # Nothing is lost: the lease runs out by itself, and a change waits for that.
            _log.warning("worker %s could not sign off: %s", self._worker, type(error).__name__)

    async def fresh(self) -> None:
        """Return at once where the lease runs; otherwise look at the log first. Raises what the store raises where it cannot be read."""
        if self._trusted():
            return
        async with self._looking:
            if not self._trusted():  # whoever looked while this one waited has looked for both
                await self._look()

    async def look(self) -> None:
        """Hold the memory against the log, apply what is new, renew the lease where it is time."""
        async with self._looking:
            await self._look()

    def moved(self, seq: int) -> None:
        """The log is that far, as somebody says."""
        if seq > self._seq:
            self._moved.set()

    async def hospital(self, code: str) -> LiveHospital:
        """A hospital by what is in force now, read first where it is not in memory. Raises what the store raises where it cannot be read, and
        `KeyError` where there is no such hospital."""
        live = self.hospitals.get(code)
        if live is None or not self._trusted():
            live = await self._obtained(code)
        if len(self.hospitals) > 1:
            self.hospitals[code] = self.hospitals.pop(code)  # asked for last
        return live

    async def _obtained(self, code: str) -> LiveHospital:
        while True:
            await self.fresh()
            live = self.hospitals.get(code)
            if live is not None:
                return live
            # What is put into memory has to be held against the log once more: this caller may have come while it was read.
            await self._filled(code)

    async def _filled(self, code: str) -> None:
        """Read a hospital into memory; whoever comes meanwhile waits for the same read."""
        await asyncio.shield(self._begin_filling(code))

    def _begin_filling(self, code: str) -> asyncio.Task[None]:
        task = self._filling.get(code)
        if task is None:
            task = self._filling[code] = asyncio.create_task(self._fill(code))
            task.add_done_callback(partial(self._end_filling, code))
        return task

    def _end_filling(self, code: str, task: asyncio.Task[None]) -> None:
        del self._filling[code]
        if not task.cancelled():
            task.exception()  # told to whoever waits; nobody may

    async def _fill(self, code: str) -> None:
        while not await self._put(code, await self._read_whole(code)):
            pass

    async def _read_whole(self, code: str) -> _Read:
        """A hospital from Redis, where that has it as the database does, otherwise from the database."""
        as_of = datetime.now(UTC)
        if self._relay is not None:
            async with self._database.read() as connection:
                seq, mark = await changes.latest(connection), await changes.mark(connection, code)
            loaded = await self._relay.whole(code, mark)
            if loaded is not None:
                return _Read(await self._aside(self._filler, LiveHospital.of, loaded, as_of), seq)
            as_of = datetime.now(UTC)
        async with self._database.read() as connection:
            seq = await changes.latest(connection)
            loaded = await hospitals.load(connection, code)
        if loaded is None:
            raise KeyError(code)
        if self._relay is not None:
            self._relay.offer(loaded)
        return _Read(await self._aside(self._filler, LiveHospital.of, loaded, as_of), seq)

    async def _put(self, code: str, read: _Read) -> bool:
        """Take a hospital into memory, with what changed while it was read; False where all of it has to be read again."""
        async with self._looking:
            live: LiveHospital | None = read.live
            if read.seq < self._seq:
                async with self._database.read() as connection:
                    as_of = datetime.now(UTC)
                    changed = Changed.since(await changes.since(connection, read.seq, code)).get(code)
                    if changed is not None:
                        live = await self._changed(connection, read.live, changed, as_of)
            if live is None:
                return False
            self.hospitals[code] = live
            self._make_room()
            return True

    def _make_room(self) -> None:
        """Let go of those that were asked for longest ago, but for the last one. Whoever judges by one keeps it until the judgement is made."""
        held = sum(live.grants for live in self.hospitals.values())
        while held > self._max_grants and len(self.hospitals) > 1:
            oldest = next(iter(self.hospitals))
            held -= self.hospitals.pop(oldest).grants
            self._meters.evictions.add()
        self._meters.grants_held.set(held)

    async def _warm(self) -> None:
        """Bring hospitals into memory while there is room."""
        for code in tuple(self.settings):
            full = sum(live.grants for live in self.hospitals.values()) >= self._max_grants
            if full or self._stopping.is_set():
                return
            if code not in self.hospitals:
                try:
                    await self._filled(code)
                except (SQLAlchemyError, OSError, KeyError) as error:
                    _log.warning("hospitals are not read ahead: %s", type(error).__name__)
                    return

    async def _look(self) -> None:
        self._moved.clear()
        async with self._database.read() as connection:
            logged = await changes.since(connection, self._seq)
            as_of = datetime.now(UTC)
            await self._apply(connection, logged, as_of)
        for live in self.hospitals.values():
            live.confirm(as_of)
        self._meters.confirmed(self.hospitals, as_of)
        if logged:
            self._seq = logged[-1].seq
        if logged or changes.since_boot() > self._trusted_until - (1 - ACKNOWLEDGE_AFTER) * self._lease_seconds:
            await self._acknowledge()

    async def _apply(self, connection: AsyncConnection, logged: Iterable[changes.Logged], as_of: datetime) -> None:
        if any(change.kind == changes.KEYS for change in logged):
            self.keys = {key.id: key for key in await keys.load(connection)}
        found = Changed.since(logged)
        if any(changed.whole for changed in found.values()):
            self.settings = await hospitals.settings(connection)
        for code, changed in found.items():
            self._marks[code] = changed.mark
            live = self.hospitals.get(code)
            if live is None or live.version >= changed.version:
                continue
            now = await self._changed(connection, live, changed, as_of)
            if now is not None:
                self.hospitals[code] = now
            else:
                del self.hospitals[code]
                self._begin_filling(code)

    async def _changed(self, connection: AsyncConnection, live: LiveHospital, changed: Changed, as_of: datetime) -> LiveHospital | None:
        """A hospital after changes; None where all of it has to be read again."""
        if changed.whole:
            return None
        code, itself, people = live.hospital.code, None, dict[str, Person]()
        read = None if self._relay is None else await self._relay.some(code, changed.mark, changed.people, itself=changed.itself)
        if read is not None:
            itself, people = read
        else:
            itself = await hospitals.load_itself(connection, code) if changed.itself else None
            people = await hospitals.load_people(connection, code, changed.people) if changed.people else {}
        return await self._aside(self._thread, live.changed, itself, people, changed, as_of)

    async def _aside(self, thread: ThreadPoolExecutor, make: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> _Made:
        """What takes long to make, made while the loop goes on answering."""
        return await asyncio.get_running_loop().run_in_executor(thread, partial(make, *given, **named))

    def _trusted(self) -> bool:
        return changes.since_boot() < self._trusted_until

    async def _acknowledge(self) -> None:
        # The lease is counted from before it is asked for: what the others wait for never ends before what this worker trusts.
        began = changes.since_boot()
        async with self._database.write(None) as connection:
            # Since the log was read the process may have been frozen for any time, and a change may have returned without waiting for it. Then
            # there is no lease, and every check looks for itself.
            current = await changes.acknowledge(connection, self._worker, self._seq, self._lease_seconds)
        if current:
            self._trusted_until = began + self._lease_seconds

    async def _follow(self) -> None:
        while not await self._told_to_stop():
            try:
                await self.look()
            except (SQLAlchemyError, OSError):
                # The lease runs out and every check looks for itself, with the error in its own hands.
                continue

    async def _told_to_stop(self) -> bool:
        """Wait until it is time to look, or somebody says that the log moved."""
        told = self._relay is not None and self._relay.is_heard
        pause = max(self._follow_seconds, LOOK_WHEN_TOLD * self._lease_seconds) if told else self._follow_seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if self._stopping.is_set() else pause):
                await self._moved.wait()
        return self._stopping.is_set()

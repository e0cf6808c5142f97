"""What a worker judges by, in memory: each hospital compiled, its matrix, and the keys; kept up with the change log under a lease.

The worker looks at the log every few milliseconds, applies what is new, and says so in the table of workers together with a lease: until when
it will trust its memory without looking. A change that returns has waited for that (`store.changes.in_force`). When the lease has run out,
because the process was frozen or the store did not answer, the worker looks at the log before it judges anything.

A hospital comes into memory when it is first asked for, from Redis where that has it as the database does, otherwise from the database; it leaves
when others need the room. One of 400,000 grants takes seconds to read and to compile. It is read piece by piece and compiled in a thread, and what is
finished is put in the place of what was, so that no check ever sees half of a change. A change of some people is applied before the worker says that
it honours it. While all of a hospital is read again, checks go on by what was, and who changed it waits; where something else changes meanwhile, the
hospital is put out of memory, and its checks wait until it is there again.

Where the database cannot be reached, what is in memory goes on to be judged by, and what a worker that starts then finds in the snapshot: each
answer says so (`degraded`) and since when nothing is known (`as_of`). After some hours there is no matrix any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache.changed import Changed
from app.cache.garbage import settle, unsettle
from app.cache.lease import Lease
from app.cache.live_hospital import LiveHospital
from app.cache.relay import Relay
from app.cache.snapshot import Held, Index, Snapshot, Unusable
from app.engine.model import Person
from app.errors import StoreAway
from app.store import changes, hospitals, keys
from app.store.changes import KEYS, TECHNOLOGIES, Logged, Mark, since_boot
from app.store.database import AWAY, Database
from app.store.reach import AT_START_SECONDS, leave, settled, within
from app.telemetry.meters import Meters

_log = logging.getLogger("surgate.live")

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

LOOK_WHEN_TOLD = 0.2
"""Share of the lease after which the log is looked at where changes are heard of at once."""

MAX_GRANTS = 2_000_000
"""Grants in a worker's memory: about 600 MiB."""

BESIDE_SECONDS = 1.0
"""How often the database is asked a small question while much is read from it, so that it is known to be there."""

PATIENT_SECONDS = 5.0
"""How long it may take to answer that."""

STOP_SECONDS = 10.0
"""How long a stop waits for what this worker has to tell the others; its lease runs out by itself."""

LINGER_SECONDS = 60.0
"""How long a hospital is judged by as it was while it is read again, at most."""

AGE_SECONDS = 1.0
"""How often it is looked how old the matrix has become, while it cannot be held against the log."""


class _Lingering(NamedTuple):
    """A hospital that is judged by as it was while it is read again, until that instant of `since_boot` at most."""

    hospital: str
    until: float


class _Read(NamedTuple):
    """A hospital that was read, how far the log was then, and of which log's (see `Index.generation`)."""

    live: LiveHospital
    seq: int
    generation: int


class Live:
    """Everything that a worker holds in memory. `hospitals`: those that are in it, the one that was asked for last at the end; `settings`: those of
    every hospital there is."""

    def __init__(
        self,
        database: Database,
        worker: str,
        lease_seconds: float,
        follow_seconds: float,
        meters: Meters | None = None,
        *,
        snapshot: Snapshot | None = None,
        reach_seconds: float = 1.0,
        max_age_seconds: float = 43_200.0,
        relay: Relay | None = None,
        max_grants: int = MAX_GRANTS,
    ) -> None:
        """`reach_seconds`: how long the database may take before it counts as away; `max_age_seconds`: how old the matrix may get then.
        `relay`: the way to Redis, None where there is none. `max_grants`: how many grants are held at most; one hospital may have more."""
        self._database = database
        self._snapshot = snapshot
        self._reach_seconds = reach_seconds
        self._max_age_seconds = max_age_seconds
        self._lease = Lease(database, worker, lease_seconds)
        self._lease_seconds = lease_seconds
        self._follow_seconds = follow_seconds
        self._meters = meters or Meters()
        self._seq = 0
        self._mark: str | None = None
        self._begun = self._looked = 0  # looks at the log: begun, and the last one that came to its end
        self._catching_up: int | None = None  # the look that applies what is new
        self._looking = asyncio.Lock()
        self._generation = 0
        self._anew = True  # what is in memory is to be loaded whole
        self._lingering: _Lingering | None = None
        self._away_since: float | None = None
        self._away_until = 0.0
        self._aged = 0.0
        self._task: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._moved = asyncio.Event()
        # A thread of its own: behind a long import or export in the shared ones a change would not come into force.
        self._thread = ThreadPoolExecutor(1, "surgate-live")
        # Another one for whole hospitals: a change of one hospital does not wait for another one to be compiled.
        self._filler = ThreadPoolExecutor(1, "surgate-fill")
        self._filling: dict[str, asyncio.Task[None]] = {}
        self._relay = relay
        self._max_grants = max_grants
        self._marks: dict[str, Mark] = {}
        self._of_snapshot: set[str] = set()
        self.hospitals: dict[str, LiveHospital] = {}
        self.settings: dict[str, hospitals.Settings] = {}
        self.keys: dict[str, keys.Key] = {}

    async def start(self) -> None:
        """Begin to follow the log. The only hospital is in memory then; of several, as many as there is room for come after. From the snapshot where
        the database is away; raises what the database raises where there is no snapshot either."""
        index = await self._index()
        self._generation = 0 if index is None else index.generation
        try:
            if index is None:
                await self._look(AT_START_SECONDS)
            else:
                await self._look_after(index)
            if len(self.settings) == 1:
                await self._read_in(*self.settings)
        except AWAY as error:
            if index is None or not await self._load_snapshot(index):
                raise
            self._lost(error)
        else:
            self._renew()
            await self._lease.settled(PATIENT_SECONDS)
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
        tasks = [task for task in (self._task, self._warming, *self._filling.values()) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._relay is not None:
            await self._relay.stop()
        await self._lease.settled(STOP_SECONDS)
        self._thread.shutdown(wait=False)
        self._filler.shutdown(wait=False)
        unsettle()
        try:
            await within(STOP_SECONDS, self._lease.sign_off())
        except AWAY as error:
            # Nothing is lost: the lease runs out by itself, and a change waits for that.
            _log.warning("this worker could not sign off: %s", type(error).__name__)

    @property
    def away(self) -> bool:
        """Whether the log could not be looked at when it was last tried."""
        return self._away_since is not None

    async def fresh(self) -> None:
        """Return at once where the lease runs; otherwise look at the log first. Where it cannot be looked at in time, what is in memory stays what is
        judged by, and says so."""
        if self._trusted():
            return
        called = self._begun
        try:
            async with self._looking:
                # Whoever began to look after this call has looked for both; and one time-out is enough for all who wait.
                if self._looked <= called and since_boot() >= self._away_until:
                    await self._look(self._reach_seconds)
        except AWAY as error:
            self._lost(error)
        if self.away:
            self._grow_old()

    def moved(self, seq: int) -> None:
        """The log is that far, as somebody says."""
        if seq > self._seq:
            self._moved.set()

    async def hospital(self, code: str) -> LiveHospital:
        """A hospital by what is in force now, read first where it is not in memory. Raises `KeyError` where there is no such hospital, `StoreAway` where
        neither the database nor the snapshot has it."""
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
        error: BaseException | None = None
        if not self.away:
            try:
                await self._read_in(code)
            except AWAY as failed:
                self._lost(failed)
                error = failed
            else:
                return
        if not await self._put_from_snapshot(code):
            raise StoreAway(f"{code}: 数据库暂不可用，也无快照 / the store is away, and no snapshot has it") from error
        if code not in self.hospitals and not self.away:
            await self._read_in(code)  # the database came back meanwhile

    async def _read_in(self, code: str) -> None:
        while not await self._put(code, await self._read_whole(code)):
            pass

    async def _read_whole(self, code: str) -> _Read:
        """A hospital from Redis, where that has it as the database does, otherwise from the database."""
        as_of, generation = datetime.now(UTC), self._generation
        if self._relay is not None:
            seq, mark = await within(PATIENT_SECONDS, self._mark_of(code))
            loaded = await self._relay.whole(code, mark)
            if loaded is not None:
                return _Read(await self._aside_whole(LiveHospital.of, loaded, as_of), seq, generation)
            as_of = datetime.now(UTC)
        seq, loaded = await self._beside(self._load(code))
        if loaded is None:
            raise KeyError(code)
        if self._relay is not None:
            self._relay.offer(loaded)
        return _Read(await self._aside_whole(LiveHospital.of, loaded, as_of), seq, generation)

    async def _mark_of(self, code: str) -> tuple[int, Mark]:
        async with self._database.read() as connection:
            return await changes.latest(connection), await changes.mark(connection, code)

    async def _load(self, code: str) -> tuple[int, hospitals.Loaded | None]:
        async with self._database.read() as connection:
            return await changes.latest(connection), await hospitals.load(connection, code)

    async def _put(self, code: str, read: _Read) -> bool:
        """Take a hospital into memory, with what changed while it was read; False where all of it has to be read again."""
        async with self._looking:
            if read.generation != self._generation:
                return False
            live = read.live if read.seq >= self._seq else await self._beside(self._brought_up(code, read))
            if live is None:
                return False
            self._of_snapshot.discard(code)
            self._hold(code, live)
            return True

    async def _brought_up(self, code: str, read: _Read) -> LiveHospital | None:
        async with self._database.read() as connection:
            as_of = datetime.now(UTC)
            changed = Changed.since(await changes.since(connection, read.seq, code)).get(code)
            return read.live if changed is None else await self._changed(connection, read.live, changed, as_of)

    async def _put_from_snapshot(self, code: str) -> bool:
        """Take a hospital as the snapshot has it, until the database is back. What is known to have changed since allows nothing."""
        index = await self._index()
        if index is None or code not in index.hospitals:
            return False
        kept = await self._of_index(index, code)
        if kept is None or code in self.hospitals or not self.away:
            return kept is not None
        self._of_snapshot.add(code)
        known = self._marks.get(code)
        if known is not None and kept.version < known.seq:
            kept.confirmed -= self._max_age_seconds
        self._hold(code, kept)
        return True

    async def _of_index(self, index: Index, code: str) -> LiveHospital | None:
        assert self._snapshot is not None
        try:
            kept = await self._aside_whole(self._snapshot.hospital, index, code)
        except Unusable as error:
            self._refused(error)
            return None
        return await self._aside_whole(LiveHospital.kept, kept)

    def _hold(self, code: str, live: LiveHospital) -> None:
        """Keep a hospital in memory, and let go of those that were asked for longest ago where there is no room. Whoever judges by one of them keeps
        it until the judgement is made."""
        self._take(code, live)
        self._make_room()
        settle(live.grants)

    def _take(self, code: str, live: LiveHospital) -> None:
        """Judge by it from now on. While the log cannot be looked at it says so from its first answer on: it is as old as the look that it comes of."""
        if self.away:
            live.degrade(self._max_age_seconds)
        self.hospitals[code] = live

    def _make_room(self) -> None:
        held = sum(live.grants for live in self.hospitals.values())
        while held > self._max_grants and len(self.hospitals) > 1:
            held -= self.hospitals.pop(next(iter(self.hospitals))).grants
            self._meters.evictions.add()
        self._meters.grants_held.set(held)

    async def _warm(self) -> None:
        """Bring hospitals into memory while there is room."""
        for code in tuple(self.settings):
            full = sum(live.grants for live in self.hospitals.values()) >= self._max_grants
            if full or self.away or self._stopping.is_set():
                return
            if code not in self.hospitals:
                try:
                    await self._filled(code)
                except (StoreAway, KeyError) as error:
                    _log.warning("hospitals are not read ahead: %s", type(error).__name__)
                    return

    async def look(self) -> None:
        """Hold the memory against the log, apply what is new, renew the lease where it is time. Raises what the database raises."""
        await self._look_alone()
        self._renew()
        await self._lease.settled()

    def held(self) -> Held | None:
        """What the snapshot is to keep; None while it cannot be held against the log."""
        if self.away or not self.hospitals:
            return None
        return Held(
            self._generation, self._seq, self._mark, tuple(self.keys.values()), tuple([live.held() for live in self.hospitals.values()])
        )

    async def _look_alone(self) -> None:
        async with self._looking:
            await self._look(self._reach_seconds)

    async def _look(self, reach_seconds: float) -> None:
        self._moved.clear()
        self._begun += 1
        number, as_of, held = self._begun, datetime.now(UTC), set(self.hospitals)
        latest, mark = await within(reach_seconds, self._standing(self._seq))
        if mark != self._mark:
            self._log_replaced(self._seq)
        if self._anew or latest != self._seq:
            self._catching_up = number
            try:
                await self._beside(self._catch_up(number, as_of))
            finally:
                self._catching_up = None
        # Nobody followed the log for what came from the snapshot.
        for code in self._of_snapshot:
            self.hospitals.pop(code, None)
        self._of_snapshot.clear()
        for code, live in self.hospitals.items():
            if self._lingering is None or code != self._lingering.hospital:
                live.confirm(as_of)
        self._meters.confirmed(self.hospitals, as_of)
        self._looked = number
        self._found()
        # What this look put out of memory is read now, not when the next check waits for it.
        for code in held - self.hospitals.keys():
            if code in self.settings:
                self._begin_filling(code)

    async def _look_after(self, index: Index) -> None:
        """The first look of a worker that could do without the database."""
        _, mark = await within(AT_START_SECONDS, self._standing(index.seq))
        if index.seq and mark != index.mark:
            self._log_replaced(index.seq)
        await self._look(AT_START_SECONDS)

    async def _standing(self, seq: int) -> tuple[int, str | None]:
        async with self._database.read() as connection:
            return await changes.standing(connection, seq)

    async def _beside(self, work: Coroutine[Any, Any, _Made]) -> _Made:
        """Do what may take long for as long as the database answers a small question meanwhile."""
        task = asyncio.create_task(work)
        try:
            while not await settled(task, BESIDE_SECONDS):
                await within(PATIENT_SECONDS, self._standing(0))
            return task.result()
        finally:
            leave(task)

    def _go_on(self, look: int) -> None:
        """Raises `TimeoutError` where that look was given up. What is broken off ends when it likes, and may not even notice (a client that swallows it):
        it must not put what it had read over what a later look has."""
        if self._catching_up != look:
            raise TimeoutError("this look was given up")

    async def _catch_up(self, look: int, as_of: datetime) -> None:
        async with self._database.read() as connection:
            seq = await changes.latest(connection)
            if self._anew:
                await self._begin_anew(connection, look)
            else:
                logged = await changes.since(connection, self._seq)
                self._go_on(look)
                if self._may_linger(logged) and await self._lease.extend(self._seq):
                    self._begin_filling(logged[-1].hospital)
                    return
                await self._apply(connection, look, logged, as_of)
            _, mark = await changes.standing(connection, seq)
        self._go_on(look)
        self._seq, self._mark, self._anew, self._lingering = seq, mark, False, None

    def _may_linger(self, logged: Sequence[Logged]) -> bool:
        """Whether what is in memory is judged by until what changed has been read. All of one hospital was changed and nothing else, and whoever changed it
        waits for this worker. With the next change, of whatever it is, the hospital is put out of memory: that one is not to wait as well."""
        if not logged:  # the database was replaced by another one this instant
            return False
        code, last = logged[-1].hospital, logged[-1].seq
        whole = all(change.hospital == code and change.people is None and change.kind not in {KEYS, TECHNOLOGIES} for change in logged)
        live = self.hospitals.get(code)
        if not whole or live is None or live.version >= last or code in self._of_snapshot:
            return False
        if self._lingering is None:
            self._lingering = _Lingering(code, since_boot() + LINGER_SECONDS)
        return since_boot() <= self._lingering.until

    async def _begin_anew(self, connection: AsyncConnection, look: int) -> None:
        """Forget what is in memory, and know what the database has now. Raises `OSError` for one without a hospital where there were some: it is being
        restored."""
        settings = await hospitals.settings(connection)
        if self.settings and not settings:
            raise OSError("the database is empty")
        known = {key.id: key for key in await keys.load(connection)}
        marks = await changes.marks(connection)
        self._go_on(look)
        self._marks, self.settings, self.keys = marks, settings, known
        held = [code for code in self.hospitals if code in settings]
        self.hospitals.clear()
        for code in held:
            self._begin_filling(code)

    def _log_replaced(self, seq: int) -> None:
        """The log is not the one that was followed: the database was put back to an earlier day, or is another one. It is the truth all the same."""
        _log.critical("the change log is not the one that was followed up to %d: was the database restored from a backup?", seq)
        self._meters.log_replaced.add()
        self._generation += 1
        self._seq, self._mark, self._anew = 0, None, True
        self._lease.end()

    async def _index(self) -> Index | None:
        try:
            return None if self._snapshot is None else await self._aside(self._snapshot.index)
        except Unusable as error:
            self._refused(error)
            return None

    async def _load_snapshot(self, index: Index) -> bool:
        """Take what the snapshot holds; False where nothing of it can be used."""
        for code in index.hospitals:
            kept = await self._of_index(index, code)
            if kept is not None:
                self.settings[code] = kept.settings
                self._of_snapshot.add(code)
                self._hold(code, kept)
        self.keys = {key.id: key for key in index.keys}
        self._seq, self._mark = index.seq, index.mark
        if self.hospitals:
            oldest = min(live.as_of for live in self.hospitals.values())
            _log.error("the database is away: started from the snapshot", extra={"as_of": oldest.isoformat(timespec="seconds")})
            self._meters.confirmed(self.hospitals, oldest)
        return bool(self.hospitals)

    def _refused(self, error: Unusable) -> None:
        _log.error("snapshot refused: %s", error)
        self._meters.snapshot_refused.add()

    def _lost(self, error: BaseException) -> None:
        """The log cannot be looked at. Until the next try has had its time, nobody else waits for it."""
        if self._away_since is None:
            self._away_since = since_boot()
            self._meters.degraded.set(1)
            _log.error("the database is away: %s. Checks go on by what is in memory", type(error).__name__)
        self._away_until = since_boot() + self._reach_seconds + self._follow_seconds
        if not self._trusted():
            self._grow_old()

    def _found(self) -> None:
        """The log was looked at."""
        if self._away_since is not None:
            _log.warning("the database is back", extra={"seconds": round(since_boot() - self._away_since, 3)})
            self._meters.degraded.set(0)
            self._meters.unavailable.set(0)
        self._away_since, self._away_until, self._aged = None, 0.0, 0.0

    def _grow_old(self) -> None:
        """See how old the memory has become."""
        if since_boot() < self._aged + AGE_SECONDS:
            return
        self._aged = since_boot()
        for live in self.hospitals.values():
            live.degrade(self._max_age_seconds)
        self._meters.unavailable.set(sum(live.usable is None for live in self.hospitals.values()))

    async def _apply(self, connection: AsyncConnection, look: int, logged: Sequence[Logged], as_of: datetime) -> None:
        found = Changed.since(logged)
        known = await keys.load(connection) if any(change.kind == KEYS for change in logged) else None
        settings = await hospitals.settings(connection) if any(changed.whole for changed in found.values()) else None
        self._go_on(look)
        if known is not None:
            self.keys = {key.id: key for key in known}
        if settings is not None:
            self.settings = settings
        for code, changed in found.items():
            self._marks[code] = changed.mark
            live = self.hospitals.get(code)
            if live is None or live.version >= changed.version or code in self._of_snapshot:
                continue
            # What it was read with already is not to be read again: all of it, perhaps.
            changed = Changed.since(change for change in logged if change.seq > live.version)[code]
            now = await self._changed(connection, live, changed, as_of)
            self._go_on(look)
            if now is not None:
                self._take(code, now)
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
        return await self._aside(live.changed, itself, people, changed, as_of)

    async def _aside(self, make: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> _Made:
        """What takes long to make, made while the loop goes on answering."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(make, *given, **named))

    async def _aside_whole(self, make: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> _Made:
        """The same for a whole hospital."""
        return await asyncio.get_running_loop().run_in_executor(self._filler, partial(make, *given, **named))

    def _trusted(self) -> bool:
        return self._lease.runs and not self._anew

    def _renew(self) -> None:
        self._lease.renew(self._seq, lingering=self._lingering is not None)

    async def _follow(self) -> None:
        while not await self._told_to_stop():
            try:
                await self._look_alone()
            except AWAY as error:
                self._lost(error)
            else:
                self._renew()

    async def _told_to_stop(self) -> bool:
        """Wait until it is time to look, or somebody says that the log moved."""
        told = self._relay is not None and self._relay.is_heard
        pause = max(self._follow_seconds, LOOK_WHEN_TOLD * self._lease_seconds) if told else self._follow_seconds
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if self._stopping.is_set() else pause):
                await self._moved.wait()
        return self._stopping.is_set()

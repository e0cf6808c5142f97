"""What a worker judges by, in memory: each hospital compiled, its matrix, and the keys; kept up with the change log under a lease.

The worker looks at the log every few milliseconds, applies what is new, and says so in the table of workers together with a lease: until when
it will trust its memory without looking. A change that returns has waited for that (`store.changes.in_force`). When the lease has run out,
because the process was frozen or the store did not answer, the worker looks at the log before it judges anything.

A hospital of 400,000 grants takes seconds to read and to compile. It is read piece by piece and compiled in a thread, and what is finished is put
in the place of what was, so that no check ever sees half of a change. While that goes on the lease is not renewed; checks that come after its
end wait.

Where the database cannot be reached, what is in memory goes on to be judged by, and what a worker that starts then finds in the snapshot: each
answer says so (`degraded`) and since when nothing is known (`as_of`). After some hours there is no matrix any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

import msgspec
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache.snapshot import Held, HeldHospital, Index, Snapshot, Unusable
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import Hospital, MatrixState, Person
from app.store import changes, hospitals, keys
from app.store.changes import since_boot
from app.store.database import AWAY, Database
from app.store.reach import leave, settled, within
from app.telemetry.meters import Meters

_log = logging.getLogger("surgate.live")

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

KEYS, TECHNOLOGIES = "key", "technology"
"""Kinds of changes that are followed without reading people again."""

ACKNOWLEDGE_AFTER = 0.4
"""Share of the lease after which it is renewed although nothing changed."""

BESIDE_SECONDS = 1.0
"""How often the database is asked a small question while much is read from it, so that it is known to be there."""

PATIENT_SECONDS = 5.0
"""How long it may take to answer that."""

REACH_AT_START_SECONDS = 5.0
"""The same at the start, before the snapshot is taken instead: a machine that has just started is slow, and no check waits."""

STOP_SECONDS = 10.0
"""How long a stop waits for what this worker has to tell the others; its lease runs out by itself."""

AGE_SECONDS = 1.0
"""How often it is looked how old the matrix has become, while it cannot be held against the log."""


class Changed(NamedTuple):
    """What of a hospital is to be read again, up to a version: all of it (`whole`), what it is but for its people (`itself`), the rows of some
    people."""

    version: int
    whole: bool = False
    itself: bool = False
    people: frozenset[str] = frozenset()

    @classmethod
    def since(cls, logged: Iterable[changes.Logged]) -> dict[str, Changed]:
        """What the log says, by hospital; keys aside."""
        found: dict[str, Changed] = {}
        for change in logged:
            if change.kind == KEYS:
                continue
            before = found.get(change.hospital, cls(change.seq))
            technologies = change.people is None and change.kind == TECHNOLOGIES
            found[change.hospital] = cls(
                version=change.seq,
                whole=before.whole or (change.people is None and not technologies),
                itself=before.itself or technologies,
                people=before.people | frozenset(change.people or ()),
            )
        return found


class LiveHospital:
    """A hospital in memory, at one version: what it is, its people, and both compiled.

    `matrix` is what is known of people; `usable` the same for judging by, None where it is too old. `confirmed`: when it was last held against the
    log, by `since_boot`.
    """

    def __init__(self, compiled: CompiledHospital, settings: hospitals.Settings, people: dict[str, Person], matrix: Matrix) -> None:
        self.compiled = compiled
        self.settings = settings
        self.hospital: Hospital = compiled.source
        self.policy_version = hashlib.sha256(msgspec.json.encode(self.hospital.policy, order="deterministic")).hexdigest()[:12]
        self.people = people
        self.matrix = matrix
        self.version = matrix.state.version
        self.as_of = matrix.state.as_of.astimezone(UTC)
        self.confirmed = since_boot()
        self.usable: Matrix | None = matrix

    @classmethod
    def kept(cls, kept: HeldHospital) -> LiveHospital:
        """A hospital of the snapshot."""
        made = cls.of(kept.loaded, kept.as_of)
        # The one place where the wall clock tells an age: the machine may have been off since.
        made.confirmed -= max(0.0, (datetime.now(UTC) - kept.as_of).total_seconds())
        return made

    @classmethod
    def of(cls, loaded: hospitals.Loaded, as_of: datetime) -> LiveHospital:
        """What was read, compiled."""
        state = _state(loaded.version, as_of, loaded.itself.hospital)
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
        self.confirmed = since_boot()
        self.matrix.state = _state(self.version, as_of, self.hospital)
        self.usable = self.matrix

    def degrade(self, max_age_seconds: float) -> None:
        """The memory cannot be held against the log: every answer says so, and none comes of it once it is older than that."""
        self.matrix.state = replace(self.matrix.state, degraded=True)
        self.usable = self.matrix if since_boot() - self.confirmed <= max_age_seconds else None

    def held(self) -> HeldHospital:
        """What the snapshot keeps of it."""
        return HeldHospital(hospitals.Loaded(hospitals.Itself(self.hospital, self.settings), self.people, self.version), self.as_of)


def _state(version: int, as_of: datetime, hospital: Hospital) -> MatrixState:
    return MatrixState(version, as_of.astimezone(hospital.time_zone))


class Live:
    """Everything that a worker holds in memory."""

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
    ) -> None:
        """`reach_seconds`: how long the database may take before it counts as away; `max_age_seconds`: how old the matrix may get then."""
        self._database = database
        self._snapshot = snapshot
        self._reach_seconds = reach_seconds
        self._max_age_seconds = max_age_seconds
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._follow_seconds = follow_seconds
        self._meters = meters or Meters()
        self._trusted_until = 0.0
        self._seq = 0
        self._mark: str | None = None
        self._begun = self._looked = 0  # looks at the log: begun, and the last one that came to its end
        self._looking = asyncio.Lock()
        self._generation = 0
        self._anew = True  # what is in memory is to be loaded whole
        self._acknowledged: int | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._away_since: float | None = None
        self._away_until = 0.0
        self._aged = 0.0
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        # A thread of its own: behind a long import or export in the shared ones a change would not come into force.
        self._thread = ThreadPoolExecutor(1, "surgate-live")
        self.hospitals: dict[str, LiveHospital] = {}
        self.keys: dict[str, keys.Key] = {}

    async def start(self) -> None:
        """Load everything and begin to follow the log; from the snapshot where the database is away. Raises what the database raises where there is
        no snapshot either."""
        index = await self._index()
        self._generation = 0 if index is None else index.generation
        try:
            if index is None:
                await self._look(REACH_AT_START_SECONDS)
            else:
                await self._look_after(index)
        except AWAY as error:
            if index is None or not await self._load_snapshot(index):
                raise
            self._lost(error)
        else:
            self._renew()
            if self._renewing is not None:
                await settled(self._renewing, PATIENT_SECONDS)
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop following; changes do not wait for this worker any more."""
        # The task is asked, not cancelled: a transaction cancelled while it commits would still hold the write lock that signing off needs.
        self._stopping.set()
        if self._task is not None:
            await self._task
        if self._renewing is not None:
            await settled(self._renewing, STOP_SECONDS)
        self._thread.shutdown(wait=False)
        self._trusted_until = 0.0
        try:
            await within(STOP_SECONDS, self._sign_off())
        except AWAY as error:
            # Nothing is lost: the lease runs out by itself, and a change waits for that.
            _log.warning("worker %s could not sign off: %s", self._worker, type(error).__name__)

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

    async def look(self) -> None:
        """Hold the memory against the log, apply what is new, renew the lease where it is time. Raises what the database raises."""
        await self._look_alone()
        self._renew()
        if self._renewing is not None:
            await asyncio.wait({self._renewing})

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
        self._begun += 1
        number, as_of = self._begun, datetime.now(UTC)
        latest, mark = await within(reach_seconds, self._standing(self._seq))
        if mark != self._mark:
            self._log_replaced(self._seq)
        if self._anew or latest != self._seq:
            await self._beside(self._catch_up(as_of))
        for live in self.hospitals.values():
            live.confirm(as_of)
        self._meters.confirmed(self.hospitals, as_of)
        self._looked = number
        self._found()

    async def _look_after(self, index: Index) -> None:
        """The first look of a worker that could do without the database."""
        _, mark = await within(REACH_AT_START_SECONDS, self._standing(index.seq))
        if index.seq and mark != index.mark:
            self._log_replaced(index.seq)
        await self._look(REACH_AT_START_SECONDS)

    async def _standing(self, seq: int) -> tuple[int, str | None]:
        async with self._database.read() as connection:
            return await changes.standing(connection, seq)

    async def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what may take long for as long as the database answers a small question meanwhile."""
        task = asyncio.create_task(work)
        try:
            while not await settled(task, BESIDE_SECONDS):
                await within(PATIENT_SECONDS, self._standing(0))
            task.result()
        finally:
            leave(task)

    async def _catch_up(self, as_of: datetime) -> None:
        async with self._database.read() as connection:
            seq = await changes.latest(connection)
            if self._anew:
                await self._load(connection, as_of)
            else:
                await self._apply(connection, await changes.since(connection, self._seq), as_of)
            _, mark = await changes.standing(connection, seq)
        self._seq, self._mark, self._anew = seq, mark, False

    async def _load(self, connection: AsyncConnection, as_of: datetime) -> None:
        """Everything as the database has it now. Raises `OSError` for one without a hospital where there were some: it is being restored."""
        found = {}
        for code in await hospitals.codes(connection):
            loaded = await hospitals.load(connection, code)
            if loaded is not None:
                found[code] = await self._aside(LiveHospital.of, loaded, as_of)
        if self.hospitals and not found:
            raise OSError("the database is empty")
        known = {key.id: key for key in await keys.load(connection)}
        self.hospitals, self.keys = found, known

    def _log_replaced(self, seq: int) -> None:
        """The log is not the one that was followed: the database was put back to an earlier day, or is another one. It is the truth all the same."""
        _log.critical("the change log is not the one that was followed up to %d: was the database restored from a backup?", seq)
        self._meters.log_replaced.add()
        self._generation += 1
        self._seq, self._mark, self._anew, self._trusted_until = 0, None, True, 0.0

    async def _index(self) -> Index | None:
        try:
            return None if self._snapshot is None else await self._aside(self._snapshot.index)
        except Unusable as error:
            self._refused(error)
            return None

    async def _load_snapshot(self, index: Index) -> bool:
        """Take what the snapshot holds; False where nothing of it can be used."""
        assert self._snapshot is not None
        for code in index.hospitals:
            try:
                kept = await self._aside(self._snapshot.hospital, index, code)
            except Unusable as error:
                self._refused(error)
            else:
                self.hospitals[code] = await self._aside(LiveHospital.kept, kept)
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

    async def _apply(self, connection: AsyncConnection, logged: Iterable[changes.Logged], as_of: datetime) -> None:
        if any(change.kind == KEYS for change in logged):
            self.keys = {key.id: key for key in await keys.load(connection)}
        for code, changed in Changed.since(logged).items():
            live = await self._changed(connection, code, changed, as_of)
            if live is not None:
                self.hospitals[code] = live

    async def _changed(self, connection: AsyncConnection, code: str, changed: Changed, as_of: datetime) -> LiveHospital | None:
        """A hospital after changes; None where there is none."""
        live = self.hospitals.get(code)
        if live is None or changed.whole:
            loaded = await hospitals.load(connection, code)
            return None if loaded is None else await self._aside(LiveHospital.of, loaded, as_of)
        itself = await hospitals.load_itself(connection, code) if changed.itself else None
        people = await hospitals.load_people(connection, code, changed.people) if changed.people else {}
        return await self._aside(live.changed, itself, people, changed, as_of)

    async def _aside(self, make: Callable[_Given, _Made], *given: _Given.args, **named: _Given.kwargs) -> _Made:
        """What takes long to make, made while the loop goes on answering."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(make, *given, **named))

    def _trusted(self) -> bool:
        return since_boot() < self._trusted_until and not self._anew

    async def _acknowledge(self) -> None:
        # The lease is counted from before it is asked for: what the others wait for never ends before what this worker trusts.
        began = since_boot()
        async with self._database.write(None) as connection:
            # Since the log was read the process may have been frozen for any time, and a change may have returned without waiting for it. Then
            # there is no lease, and every check looks for itself.
            current = await changes.acknowledge(connection, self._worker, self._seq, self._lease_seconds)
        if current:
            self._trusted_until = began + self._lease_seconds

    def _renew(self) -> None:
        """Begin to acknowledge, where it is time: beside the looks, since it writes, and a disk or a lock may hold that up while the log can be
        read."""
        if self._renewing is not None and not self._renewing.done():
            return
        due = self._trusted_until - (1 - ACKNOWLEDGE_AFTER) * self._lease_seconds
        if self._acknowledged != self._seq or since_boot() > due:
            self._renewing = asyncio.create_task(self._renewed())

    async def _renewed(self) -> None:
        seq = self._seq
        try:
            await self._acknowledge()
        except AWAY as error:
            # The lease runs out, and every check looks for itself.
            _log.debug("not acknowledged: %s", type(error).__name__)
        else:
            self._acknowledged = seq

    async def _sign_off(self) -> None:
        async with self._database.write(None) as connection:
            await changes.sign_off(connection, self._worker)

    async def _follow(self) -> None:
        while not await self._told_to_stop():
            try:
                await self._look_alone()
            except AWAY as error:
                self._lost(error)
            else:
                self._renew()

    async def _told_to_stop(self) -> bool:
        try:
            async with asyncio.timeout(self._follow_seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False

"""What a worker judges by, in memory: each hospital compiled, its matrix, and the keys; kept up with the change log under a lease.

The worker looks at the log every few milliseconds, applies what is new, and says so in the table of workers together with a lease: until when
it will trust its memory without looking. A change that returns has waited for that (`store.changes.in_force`). When the lease has run out,
because the process was frozen or the store did not answer, the worker looks at the log before it judges anything.

A hospital of 400,000 grants takes seconds to read and to compile. It is read piece by piece and compiled in a thread, and what is finished is put
in the place of what was, so that no check ever sees half of a change. While that goes on the lease is not renewed; checks that come after its
end wait.
"""

from __future__ import annotations

import asyncio
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

from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import Hospital, MatrixState, Person
from app.store import changes, hospitals, keys
from app.store.database import Database
from app.telemetry.meters import Meters

_log = logging.getLogger("surgate.live")

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

KEYS, TECHNOLOGIES = "key", "technology"
"""Kinds of changes that are followed without reading people again."""

ACKNOWLEDGE_AFTER = 0.4
"""Share of the lease after which it is renewed although nothing changed."""


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
        self.matrix.state = _state(self.version, as_of, self.hospital)


def _state(version: int, as_of: datetime, hospital: Hospital) -> MatrixState:
    return MatrixState(version, as_of.astimezone(hospital.time_zone))


class Live:
    """Everything that a worker holds in memory."""

    def __init__(self, database: Database, worker: str, lease_seconds: float, follow_seconds: float, meters: Meters | None = None) -> None:
        self._database = database
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._follow_seconds = follow_seconds
        self._meters = meters or Meters()
        self._trusted_until = 0.0
        self._seq = 0
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        # A thread of its own: behind a long import or export in the shared ones a change would not come into force.
        self._thread = ThreadPoolExecutor(1, "surgate-live")
        self.hospitals: dict[str, LiveHospital] = {}
        self.keys: dict[str, keys.Key] = {}

    async def start(self) -> None:
        """Load everything and begin to follow the log."""
        async with self._database.read() as connection:
            self._seq = await changes.latest(connection)
            as_of = datetime.now(UTC)
            for code in await hospitals.codes(connection):
                loaded = await hospitals.load(connection, code)
                if loaded is not None:
                    self.hospitals[code] = await self._aside(LiveHospital.of, loaded, as_of)
            self.keys = {key.id: key for key in await keys.load(connection)}
        self._meters.confirmed(self.hospitals, as_of)
        await self._acknowledge()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Stop following; changes do not wait for this worker any more."""
        # The task is asked, not cancelled: a transaction cancelled while it commits would still hold the write lock that signing off needs.
        self._stopping.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown(wait=False)
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

    async def _look(self) -> None:
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
        try:
            async with asyncio.timeout(self._follow_seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False

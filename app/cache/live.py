"""What a worker judges by, in memory: each hospital compiled, its matrix, and the keys; kept up with the change log under a lease.

The worker looks at the log every few milliseconds, applies what is new, and says so in the table of workers together with a lease: until when
it will trust its memory without looking. A change that returns has waited for that (`store.changes.in_force`). When the lease has run out,
because the process was frozen or the store did not answer, the worker looks at the log before it judges anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from datetime import UTC, datetime, timedelta

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

ACKNOWLEDGE_AFTER = 0.4
"""Share of the lease after which it is renewed although nothing changed."""


class LiveHospital:
    """A hospital in memory, at one version."""

    def __init__(self, loaded: hospitals.Loaded, as_of: datetime) -> None:
        self.hospital: Hospital = loaded.hospital
        self.people: dict[str, Person] = loaded.people
        self.version = loaded.version
        self.settings = loaded.settings
        self.as_of = as_of
        self.compiled = CompiledHospital(loaded.hospital)
        self.policy_version = hashlib.sha256(msgspec.json.encode(loaded.hospital.policy, order="deterministic")).hexdigest()[:12]
        self.matrix = self._matrix()

    def confirm(self, as_of: datetime) -> None:
        """The memory was held against the log at that instant and is still right."""
        self.as_of = as_of
        self.matrix.state = self._state()

    def update(self, people: dict[str, Person], numbers: tuple[str, ...], version: int, as_of: datetime) -> None:
        """Some people's rows changed."""
        for number in numbers:
            self.people.pop(number, None)
        self.people |= people
        self.version, self.as_of = version, as_of
        self.matrix = self._matrix()

    def _matrix(self) -> Matrix:
        return Matrix(self.people.values(), self._state())

    def _state(self) -> MatrixState:
        return MatrixState(self.version, self.as_of.astimezone(self.hospital.time_zone))


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
                    self.hospitals[code] = LiveHospital(loaded, as_of)
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
        self._trusted_until = 0.0
        try:
            async with self._database.write() as connection:
                await changes.sign_off(connection, self._worker)
        except (SQLAlchemyError, OSError) as error:
            # Nothing is lost: the lease runs out by itself, and a change waits for that.
            _log.warning("worker %s could not sign off: %s", self._worker, type(error).__name__)

    async def fresh(self) -> None:
        """Return at once where the lease runs; otherwise look at the log first. Raises what the store raises where it cannot be read."""
        if time.monotonic() >= self._trusted_until:
            await self.look()

    async def look(self) -> None:
        """Hold the memory against the log, apply what is new, renew the lease where it is time."""
        async with self._looking:
            async with self._database.read() as connection:
                logged = await changes.since(connection, self._seq)
                as_of = datetime.now(UTC)
                for change in logged:
                    await self._apply(connection, change, as_of)
            for live in self.hospitals.values():
                live.confirm(as_of)
            self._meters.confirmed(self.hospitals, as_of)
            if logged:
                self._seq = logged[-1].seq
            if logged or time.monotonic() > self._trusted_until - (1 - ACKNOWLEDGE_AFTER) * self._lease_seconds:
                await self._acknowledge()

    async def _apply(self, connection: AsyncConnection, change: changes.Logged, as_of: datetime) -> None:
        if change.kind == "key":
            self.keys = {key.id: key for key in await keys.load(connection)}
            return
        live = self.hospitals.get(change.hospital)
        if live is None or change.people is None:
            loaded = await hospitals.load(connection, change.hospital)
            if loaded is not None:
                self.hospitals[change.hospital] = LiveHospital(loaded, as_of)
            return
        people = await hospitals.load_people(connection, change.hospital, change.people)
        live.update(people, change.people, change.seq, as_of)

    async def _acknowledge(self) -> None:
        # The lease is counted from before it is written down: what the others read never ends before what this worker trusts.
        began = time.monotonic()
        until = datetime.now(UTC) + timedelta(seconds=self._lease_seconds)
        async with self._database.write() as connection:
            # Between reading the log and this transaction, which alone writes now, the process may have been frozen for any time and a change
            # may have returned without waiting for it. Then there is no lease, and every check looks for itself.
            current = await changes.latest(connection) == self._seq
            await changes.acknowledge(connection, self._worker, self._seq, until)
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

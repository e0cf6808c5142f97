"""The instruments of one worker, and the few lines by which the rest of the program reports to them.

Labels are looked up once per series, not per check; what a check costs here is measured in `docs/decisions/`.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from app.engine.model import Decision
from app.telemetry import families
from app.telemetry.families import Family
from app.telemetry.memory import Memory

_clock = time.perf_counter


class Counter:
    """A number that only grows."""

    __slots__ = ("_cells",)

    def __init__(self, memory: Memory, family: Family, *labels: str) -> None:
        self._cells = memory.cells(family, labels)

    def add(self, count: float = 1.0) -> None:
        self._cells[0] += count


class Gauge:
    """A number as it is now."""

    __slots__ = ("_cells",)

    def __init__(self, memory: Memory, family: Family, *labels: str) -> None:
        self._cells = memory.cells(family, labels)

    def set(self, value: float) -> None:
        self._cells[0] = value

    def add(self, difference: float) -> None:
        self._cells[0] += difference


class Histogram:
    """How often a value fell between which bounds, and the sum of all values."""

    __slots__ = ("_bounds", "_cells")

    def __init__(self, memory: Memory, family: Family, *labels: str) -> None:
        self._bounds = family.bounds
        self._cells = memory.cells(family, labels)

    def observe(self, value: float) -> None:
        cells = self._cells
        cells[bisect_left(self._bounds, value)] += 1.0
        cells[-1] += value


class Versioned(Protocol):
    """A hospital in a worker's memory."""

    version: int


class Counted(Protocol):
    """How many overrides of a hospital wait in a state, and how many of their reviews are overdue."""

    @property
    def hospital(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def waiting(self) -> int: ...
    @property
    def overdue(self) -> int: ...


class CheckWatch:
    """The parts of one check, each ended by a call."""

    __slots__ = ("_mark", "_meters")

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._mark = _clock()

    def admitted(self) -> None:
        """What must be known first is known."""
        self._end(self._meters.admission)

    def judged(self) -> None:
        """The engine has decided."""
        self._end(self._meters.engine)

    def recorded(self, decision: Decision, *, replayed: bool) -> None:
        """It is on stable storage; `replayed`: another copy of the request came first, whose answer is given."""
        self._end(self._meters.record)
        if replayed:
            self._meters.replays.add()
        else:
            self._meters.count(decision)

    def _end(self, part: Histogram) -> None:
        now = _clock()
        part.observe(now - self._mark)
        self._mark = now


class Meters:
    """All instruments of one worker."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self.admission, self.engine, self.record = (
            Histogram(self.memory, families.PARTS, part) for part in ("admission", "engine", "record")
        )
        self.replays = Counter(self.memory, families.REPLAYS)
        self.in_flight = Gauge(self.memory, families.IN_FLIGHT)
        self._commit_records = Histogram(self.memory, families.COMMIT_RECORDS)
        self._commit_seconds = Histogram(self.memory, families.COMMIT_SECONDS)
        self._commit_failures = Counter(self.memory, families.COMMIT_FAILURES)
        self._waiting = Gauge(self.memory, families.WAITING)
        self.journaled = Counter(self.memory, families.JOURNALED)
        self.drained = Counter(self.memory, families.DRAINED)
        self.journal_records = Gauge(self.memory, families.JOURNAL_RECORDS)
        self.journal_refused = Gauge(self.memory, families.JOURNAL_REFUSED)
        self.store_away = Gauge(self.memory, families.STORE_AWAY)
        self._journal_seconds = Histogram(self.memory, families.JOURNAL_SECONDS)
        self._confirmed = Gauge(self.memory, families.MATRIX_CONFIRMED)
        self.degraded = Gauge(self.memory, families.DEGRADED)
        self.unavailable = Gauge(self.memory, families.MATRIX_UNAVAILABLE)
        self.log_replaced = Counter(self.memory, families.LOG_REPLACED)
        self.snapshot_confirmed = Gauge(self.memory, families.SNAPSHOT_CONFIRMED)
        self.snapshot_failures = Counter(self.memory, families.SNAPSHOT_FAILURES)
        self.snapshot_refused = Counter(self.memory, families.SNAPSHOT_REFUSED)
        self.event_streams = Gauge(self.memory, families.EVENT_STREAMS)
        self.evictions = Counter(self.memory, families.MATRIX_EVICTIONS)
        self.grants_held = Gauge(self.memory, families.MATRIX_GRANTS)
        self._reads: dict[tuple[str, str], Counter] = {}
        self._redis_up: Gauge | None = None
        self._rebuilds: Counter | None = None
        self._outbox: dict[tuple[str, str], Gauge] = {}
        self._notified: dict[tuple[str, str], Counter] = {}
        self._decisions: dict[tuple[str, str], Counter] = {}
        self._cut: dict[str, Counter] = {}
        self._admissions: dict[tuple[str, bool], Counter] = {}
        self._reasons: dict[str, Counter] = {}
        self._versions: dict[str, Gauge] = {}
        self._overrides: dict[tuple[str, ...], Gauge] = {}
        self.seal_failures = Counter(self.memory, families.SEAL_FAILURES)
        self.chain_breaks = Counter(self.memory, families.CHAIN_BREAKS)
        self._chains: dict[tuple[str, str], Gauge] = {}
        self._requests: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        Gauge(self.memory, families.STARTED).set(time.time())
        Counter(self.memory, families.STARTS).add()

    def check(self) -> CheckWatch:
        """A check begins."""
        return CheckWatch(self)

    def admission_of(self, rank: str, *, admitted: bool) -> None:
        """A check was let in, or refused for want of room."""
        counter = self._admissions.get((rank, admitted))
        if counter is None:
            outcome = "admitted" if admitted else "shed"
            counter = self._admissions[rank, admitted] = Counter(self.memory, families.ADMISSIONS, str(rank), outcome)
        counter.add()

    def connection_cut(self, why: str) -> None:
        """A connection was refused or broken off."""
        counter = self._cut.get(why)
        if counter is None:
            counter = self._cut[why] = Counter(self.memory, families.CONNECTIONS_CUT, why)
        counter.add()

    def count(self, decision: Decision) -> None:
        """Count a decision by its outcome and by each of its reasons, once."""
        key = (decision.checkpoint, decision.decision)
        counter = self._decisions.get(key)
        if counter is None:
            counter = self._decisions[key] = Counter(self.memory, families.DECISIONS, decision.checkpoint.value, decision.decision.value)
        counter.add()
        found = {finding.code for finding in decision.findings}
        for procedure in decision.procedures:
            found.update([finding.code for finding in procedure.findings])
        for member in decision.team:
            found.update([finding.code for finding in member.findings])
        for code in found:
            reason = self._reasons.get(code)
            if reason is None:
                reason = self._reasons[code] = Counter(self.memory, families.REASONS, code)
            reason.add()

    @contextmanager
    def commit(self, records: int, waiting: Callable[[], int]) -> Iterator[None]:
        """A commit of so many records; `waiting` tells how many wait for the next. One that fails is counted as such, and its time is not."""
        began = _clock()
        try:
            yield
        except BaseException:
            self._commit_failures.add()
            raise
        self._commit_seconds.observe(_clock() - began)
        self._commit_records.observe(records)
        self._waiting.set(waiting())

    @contextmanager
    def journal(self) -> Iterator[None]:
        """Decisions are put into the journal."""
        began = _clock()
        yield
        self._journal_seconds.observe(_clock() - began)

    def confirmed(self, hospitals: Mapping[str, Versioned], at: datetime) -> None:
        """The matrix was held against the change log. `hospitals`: those in memory."""
        self._confirmed.set(at.timestamp())
        for code in self._versions.keys() - hospitals.keys():
            self._versions[code].set(0)
        for code, hospital in hospitals.items():
            gauge = self._versions.get(code)
            if gauge is None:
                gauge = self._versions[code] = Gauge(self.memory, families.MATRIX_VERSION, code)
            gauge.set(hospital.version)

    def read(self, what: str, source: str) -> None:
        """Something of the matrix (`hospital`, or `people`) was read from `redis` or from the `database`."""
        if (what, source) not in self._reads:
            self._reads[what, source] = Counter(self.memory, families.MATRIX_READS, what, source)
        self._reads[what, source].add()

    def redis_up(self, up: bool) -> None:
        """Whether Redis answers. Not told where there is none."""
        if self._redis_up is None:
            self._redis_up = Gauge(self.memory, families.REDIS_UP)
        self._redis_up.set(float(up))

    def rebuilt(self) -> None:
        """A hospital was written to Redis anew."""
        if self._rebuilds is None:
            self._rebuilds = Counter(self.memory, families.REDIS_REBUILDS)
        self._rebuilds.add()

    def overrides_waiting(self, hospitals: Collection[str], waiting: Iterable[Counted]) -> None:
        """The overrides that wait were counted. What is not among them is none by now."""
        found = dict.fromkeys(self._overrides, 0) | {(hospital,): 0 for hospital in hospitals}
        for one in waiting:
            found[one.hospital, one.state] = one.waiting
            found[one.hospital,] = found.get((one.hospital,), 0) + one.overdue
        for labels, count in found.items():
            gauge = self._overrides.get(labels)
            if gauge is None:
                family = families.OVERRIDES_OVERDUE if len(labels) == 1 else families.OVERRIDES_OPEN
                gauge = self._overrides[labels] = Gauge(self.memory, family, *labels)
            gauge.set(count)

    def outbox(self, counts: Mapping[tuple[str, str], int]) -> None:
        """What the outbox holds, by (hospital, state); nothing where another worker delivers and tells."""
        for hospital, state in counts:
            if (hospital, state) not in self._outbox:
                family = families.OUTBOX_DEAD if state == "dead" else families.OUTBOX_WAITING
                self._outbox[hospital, state] = Gauge(self.memory, family, hospital)
        for key, gauge in self._outbox.items():
            gauge.set(counts.get(key, 0))

    def notified(self, kind: str, outcome: str) -> None:
        """A notification was tried: `sent` or `failed`."""
        key = (kind, outcome)
        if key not in self._notified:
            self._notified[key] = Counter(self.memory, families.NOTIFIED, kind, outcome)
        self._notified[key].add()

    def chain_number(self, hospital: str, number: int) -> None:
        """The head of a hospital's chain was signed at that number."""
        self._of_chain(families.CHAIN_NUMBER, hospital).set(number)

    def sealed(self, hospital: str, number: int, at: datetime) -> None:
        """A hospital's chain is sealed up to that number, by a head signed at that instant."""
        self._of_chain(families.SEALED_NUMBER, hospital).set(number)
        self._of_chain(families.SEALED_AT, hospital).set(at.timestamp())

    def _of_chain(self, family: Family, hospital: str) -> Gauge:
        gauge = self._chains.get((family.name, hospital))
        if gauge is None:
            gauge = self._chains[family.name, hospital] = Gauge(self.memory, family, hospital)
        return gauge

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered. `route`: its template, never the path itself."""
        key = (method, route, status)
        made = self._requests.get(key)
        if made is None:
            counter = Counter(self.memory, families.REQUESTS, method, route, str(status))
            made = self._requests[key] = (counter, Histogram(self.memory, families.REQUEST_SECONDS, route))
        made[0].add()
        made[1].observe(seconds)

"""Who gets in when more comes than can be done: checks by their rank and by their hospital, everything else in turns.

A check is let in or refused at once (503 with `Retry-After`), before it waits. It is refused where too many are in hand already, or where, as
fast as checks are finished just now, it would wait longer than its rank may: so the time of what is let in stays flat, and a store that stands
still does not gather thousands.

**Ranks.** Each may fill the room up to its own line, the less urgent ones a lower one; what is above the line of `urgent` is for emergencies alone.

**Hospitals.** One that is alone, or that holds more than its share while others are there, may fill the room to the first line of a rank; one
that holds less than its share may go on to the second. Every first line is below every second one: whatever one hospital sends, another one's
trickle finds room.
"""

from __future__ import annotations

import math
import time
from asyncio import Future, get_running_loop
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from typing import NamedTuple

from app.engine.model import Urgency
from app.errors import Overloaded
from app.telemetry.meters import Meters

FEW = 128
"""Of so many checks, each rank's first line may be in hand however slow it goes: they fit into one commit, and a few clients may well wait for a
disk that stalls."""

MEASURED_FROM = 32
"""Only from checks that came when so many were in hand it is told how fast they are finished: the time of a lone check is mostly that of its commit,
which it would share."""

WEIGHT = 1 / 16
"""Of one check in what is known of all. They are finished in bursts, a commit's at once, so that neither the time from one to the next tells anything
nor that to the first of a burst; each one's whole time does. After a stall two commits are enough to forget it."""

FORGET_SECONDS = 10.0
"""What was measured longer ago says nothing of now."""

MAX_RETRY_SECONDS = 30

FULL = "等待的请求过多，请稍后重试 / too much is waiting: try again later"


class Rank(StrEnum):
    """How much a check matters when not all can be let in."""

    EMERGENCY = "emergency"
    URGENT = "urgent"
    ELECTIVE = "elective"
    BATCH = "batch"


class _Lines(NamedTuple):
    """How far a rank may fill the room: shares of it for a hospital alone or above its share, and for one below its share; and how long it may be
    expected to wait, in seconds."""

    first: float
    second: float
    seconds: float


_LINES = {
    Rank.EMERGENCY: _Lines(0.80, 1.00, math.inf),
    Rank.URGENT: _Lines(0.70, 0.95, 1.0),
    Rank.ELECTIVE: _Lines(0.60, 0.90, 0.5),
    Rank.BATCH: _Lines(0.50, 0.85, 0.25),
}

_OF_URGENCY = {Urgency.EMERGENCY: Rank.EMERGENCY, Urgency.URGENT: Rank.URGENT, Urgency.ELECTIVE: Rank.ELECTIVE}


def rank_of(urgency: Urgency, *, in_batch: bool) -> Rank:
    """The rank of a check. In a batch nobody waits for the single answer, unless it is urgent."""
    rank = _OF_URGENCY[urgency]
    return Rank.BATCH if in_batch and rank is Rank.ELECTIVE else rank


class Pace:
    """How long one check takes while many are in hand: seconds per finished check, measured lately."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = 0.0
        self._measured_at = -math.inf
        self.last = clock()
        """When the last one was finished, or when the first one came after none was there."""

    def seconds_each(self) -> float:
        """0 where it was not measured lately."""
        return self._seconds if self._clock() - self._measured_at <= FORGET_SECONDS else 0.0

    def began(self, in_hand: int) -> float:
        """One was let in, and so many are in hand now. The instant, for `finished`."""
        now = self._clock()
        if in_hand == 1:
            self.last = now
        return now

    def finished(self, began: float, in_hand: int) -> None:
        """One that began then, as the last of so many in hand, was finished."""
        now = self.last = self._clock()
        if in_hand >= MEASURED_FROM:
            each = (now - began) / in_hand
            known = self.seconds_each()
            self._seconds = known + WEIGHT * (each - known) if known else each
            self._measured_at = now


class Admission:
    """Lets the checks of one worker in. `room`: how many may be in hand at once; `clock`: seconds, which never go back."""

    def __init__(self, room: int, meters: Meters, clock: Callable[[], float] = time.monotonic) -> None:
        self._room = room
        self._meters = meters
        self._clock = clock
        self._pace = Pace(clock)
        self._mine: Counter[str] = Counter()
        self.in_hand = 0

    @contextmanager
    def admitted(self, rank: Rank, hospital: str) -> Iterator[None]:
        """For as long as a check is worked on. Raises `Overloaded`."""
        if not self._has_room(rank, hospital):
            self._meters.admission_of(rank, admitted=False)
            refused = Overloaded(FULL)
            refused.after_seconds = self._retry_seconds()
            raise refused
        self._meters.admission_of(rank, admitted=True)
        self.in_hand += 1
        self._mine[hospital] += 1
        in_hand = self.in_hand
        began = self._pace.began(in_hand)
        try:
            yield
        finally:
            self.in_hand -= 1
            self._mine[hospital] -= 1
            if not self._mine[hospital]:
                del self._mine[hospital]
            self._pace.finished(began, in_hand)

    def _has_room(self, rank: Rank, hospital: str) -> bool:
        lines = _LINES[rank]
        in_time = self._in_time(lines)
        first = min(lines.first * self._room, in_time)
        if self.in_hand < math.floor(first):
            return True
        others = len(self._mine) - (hospital in self._mine)
        if not others or self._mine.get(hospital, 0) >= max(1.0, first / (others + 1)):
            return False
        return self.in_hand < math.floor(min(lines.second * self._room, 2 * in_time))

    def _in_time(self, lines: _Lines) -> float:
        """So many may be in hand for one more to be finished in its time."""
        if math.isinf(lines.seconds):
            return math.inf
        few = FEW * lines.first
        if self._stands() > lines.seconds:
            return few
        each = self._pace.seconds_each()
        return max(few, lines.seconds / each) if each else math.inf

    def _stands(self) -> float:
        """For how long nothing was finished although something is in hand."""
        return self._clock() - self._pace.last if self.in_hand else 0.0

    def _retry_seconds(self) -> int:
        """When what is in hand now will be done, as it looks."""
        wait = max(self._stands(), self.in_hand * self._pace.seconds_each())
        return min(MAX_RETRY_SECONDS, max(Overloaded.after_seconds, math.ceil(wait)))


class Turns:
    """Work of which a worker does only so much at once. Who comes then waits in line; the hospitals take turns, and each has a bounded part of
    the line, so that none keeps another one waiting for more than what is being done."""

    def __init__(self, at_once: int, most_in_line: int) -> None:
        """`most_in_line`: of one hospital, what is being done included."""
        self._free = at_once
        self._most = most_in_line
        self._in_line: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[Future[None]]] = OrderedDict()

    @contextmanager
    def place(self, hospital: str) -> Iterator[None]:
        """A place in line, for as long as the work is asked for. To be taken before what is long to receive is received. Raises `Overloaded`."""
        if self._in_line[hospital] >= self._most:
            raise Overloaded(FULL)
        self._in_line[hospital] += 1
        try:
            yield
        finally:
            self._in_line[hospital] -= 1
            if not self._in_line[hospital]:
                del self._in_line[hospital]

    @asynccontextmanager
    async def turn(self, hospital: str) -> AsyncIterator[None]:
        """Wait for the turn, and hold it."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(hospital)
        try:
            yield
        finally:
            self._next()

    @asynccontextmanager
    async def through(self, hospital: str) -> AsyncIterator[None]:
        """A place and its turn in one. Raises `Overloaded`."""
        with self.place(hospital):
            async with self.turn(hospital):
                yield

    async def _wait(self, hospital: str) -> None:
        called: Future[None] = get_running_loop().create_future()
        self._waiting.setdefault(hospital, deque()).append(called)
        try:
            await called
        except BaseException:
            # Called and cancelled at once: the turn is the next one's. Cancelled before: whoever calls passes it over.
            if called.done() and not called.cancelled():
                self._next()
            raise

    def _next(self) -> None:
        while self._waiting:
            hospital, mine = next(iter(self._waiting.items()))
            called = mine.popleft()
            if mine:
                self._waiting.move_to_end(hospital)
            else:
                del self._waiting[hospital]
            if not called.done():
                called.set_result(None)
                return
        self._free += 1

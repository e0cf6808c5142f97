"""Who gets in when more comes than can be done: ranks, hospitals, the expected wait; and the turns of other work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack

import pytest

from app.admission import FEW, FORGET_SECONDS, MEASURED_FROM, Admission, Rank, Turns, rank_of
from app.engine.model import Urgency
from app.errors import Overloaded
from app.telemetry.meters import Meters

ROOM = 1000


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """An admission and the checks that it has let in, in their order."""

    def __init__(self, room: int = ROOM) -> None:
        self.clock = Clock()
        self.admission = Admission(room, Meters(), self.clock)
        self.held: list[AbstractContextManager[None]] = []

    def takes(self, rank: Rank, hospital: str = "a") -> bool:
        """Whether one more is let in; it is held then."""
        admitted = self.admission.admitted(rank, hospital)
        try:
            admitted.__enter__()
        except Overloaded:
            return False
        self.held.append(admitted)
        return True

    def fill(self, rank: Rank, hospital: str = "a") -> int:
        """As many as are let in."""
        count = 0
        while self.takes(rank, hospital):
            count += 1
        return count

    def finish(self, count: int, seconds_each: float = 0.0) -> None:
        """Finish the oldest ones."""
        for _ in range(count):
            self.clock.now += seconds_each
            self.held.pop(0).__exit__(None, None, None)


def test_the_less_urgent_are_refused_first_and_the_last_room_is_for_emergencies() -> None:
    worker = Worker()
    lines = []
    for rank in (Rank.BATCH, Rank.ELECTIVE, Rank.URGENT, Rank.EMERGENCY):
        assert worker.fill(rank) > 0
        lines.append(worker.admission.in_hand)
    assert lines == [500, 600, 700, 800]
    worker.finish(150)
    assert [worker.takes(rank) for rank in (Rank.BATCH, Rank.ELECTIVE, Rank.URGENT, Rank.EMERGENCY)] == [False, False, True, True]


def test_in_a_batch_only_what_is_not_urgent_counts_as_of_a_batch() -> None:
    assert [rank_of(u, in_batch=False) for u in (Urgency.ELECTIVE, Urgency.URGENT, Urgency.EMERGENCY)] == [
        "elective",
        "urgent",
        "emergency",
    ]
    assert [rank_of(u, in_batch=True) for u in (Urgency.ELECTIVE, Urgency.URGENT, Urgency.EMERGENCY)] == ["batch", "urgent", "emergency"]


@pytest.mark.parametrize("flood", [Rank.ELECTIVE, Rank.EMERGENCY])
def test_whatever_one_hospital_sends_anothers_trickle_is_let_in(flood: Rank) -> None:
    worker = Worker()
    worker.fill(flood, "a")
    for rank in Rank:
        assert worker.takes(rank, "b"), rank
    assert not worker.takes(Rank.ELECTIVE, "a")
    assert worker.takes(Rank.BATCH, "c")


def test_two_hospitals_that_both_want_everything_come_to_hold_the_same() -> None:
    worker = Worker()
    worker.fill(Rank.ELECTIVE, "a")
    for _ in range(3000):
        worker.finish(1)
        for hospital in ("a", "b", "a", "a"):
            worker.takes(Rank.ELECTIVE, hospital)
    of_b = worker.admission._mine["b"]
    assert abs(of_b - worker.admission._mine["a"]) <= 0.5 * of_b
    worker.finish(len(worker.held))
    assert worker.fill(Rank.ELECTIVE, "b") == 600, "alone again it may fill the room to its line"


def test_what_would_wait_too_long_is_refused_as_fast_as_it_goes_just_now() -> None:
    worker = Worker()
    worker.fill(Rank.EMERGENCY)
    worker.finish(400, seconds_each=0.005)
    assert worker.admission.in_hand == 400
    assert not worker.takes(Rank.URGENT), "200 are done in its second"
    worker.finish(250, seconds_each=0.005)
    assert worker.takes(Rank.URGENT)
    assert not worker.takes(Rank.ELECTIVE), "100 are done in its half second"
    worker.finish(60, seconds_each=0.005)
    assert worker.takes(Rank.ELECTIVE)
    assert not worker.takes(Rank.BATCH), "50 are done in its quarter"
    worker.finish(len(worker.held))
    worker.clock.now += FORGET_SECONDS + 1
    assert worker.fill(Rank.BATCH) == 500, "what was measured long ago says nothing"


def test_few_are_let_in_however_slow_it_goes_and_their_time_is_not_measured() -> None:
    worker = Worker()
    for _ in range(MEASURED_FROM):
        assert worker.takes(Rank.ELECTIVE)
    worker.finish(MEASURED_FROM - 1, seconds_each=30)
    assert worker.fill(Rank.ELECTIVE) == 599


def test_one_that_stalled_is_forgotten_after_two_commits_and_never_keeps_a_few_clients_out() -> None:
    worker = Worker()

    def commit(seconds: float) -> None:
        assert [worker.takes(Rank.ELECTIVE) for _ in range(64)] == [True] * 64
        worker.clock.now += seconds
        worker.finish(64)

    commit(1.0)
    assert worker.fill(Rank.ELECTIVE) < 100, "it was slow just now"
    worker.finish(len(worker.held))
    for _ in range(2):
        commit(0.02)
    assert worker.fill(Rank.ELECTIVE) > 300


def test_behind_a_store_that_stands_still_only_few_gather_but_emergencies() -> None:
    worker = Worker()
    assert worker.takes(Rank.ELECTIVE)
    worker.clock.now += 5
    for _ in range(FEW):
        worker.takes(Rank.ELECTIVE)
    assert worker.admission.in_hand < FEW
    before = worker.admission.in_hand
    assert worker.fill(Rank.EMERGENCY) == 800 - before
    with pytest.raises(Overloaded) as refused, worker.admission.admitted(Rank.ELECTIVE, "a"):
        pass
    assert refused.value.after_seconds == 5
    worker.finish(300)
    assert worker.takes(Rank.ELECTIVE), "it goes on"


def test_who_is_refused_is_told_when_to_come_again() -> None:
    worker = Worker()
    worker.fill(Rank.EMERGENCY)
    worker.finish(200, seconds_each=0.011)
    with pytest.raises(Overloaded) as refused, worker.admission.admitted(Rank.ELECTIVE, "a"):
        pass
    assert refused.value.after_seconds == 7, "600 are in hand"


def test_in_a_small_room_there_is_still_a_place_for_emergencies_alone() -> None:
    worker = Worker(10)
    assert [worker.fill(rank) for rank in (Rank.BATCH, Rank.ELECTIVE, Rank.URGENT, Rank.EMERGENCY)] == [5, 1, 1, 1]
    assert worker.takes(Rank.ELECTIVE, "b")


def test_every_admission_is_counted_by_rank() -> None:
    counted: list[tuple[str, bool]] = []

    class Counting(Meters):
        def admission_of(self, rank: str, *, admitted: bool) -> None:
            counted.append((rank, admitted))

    admission = Admission(10, Counting())
    with ExitStack() as held:
        for _ in range(7):
            try:
                held.enter_context(admission.admitted(Rank.ELECTIVE, "a"))
            except Overloaded:
                continue
    assert counted == [("elective", True)] * 6 + [("elective", False)]


async def _work(turns: Turns, hospital: str, done: list[str], leave: asyncio.Event) -> None:
    async with turns.through(hospital):
        done.append(hospital)
        await leave.wait()


def _run(turns: Turns, hospitals: Iterable[str], and_then: Callable[[list[asyncio.Task[None]], asyncio.Event], None]) -> list[str]:
    """The hospitals ask in that order, while nobody leaves before `and_then`; in which order they had their turn."""

    async def run() -> list[str]:
        done: list[str] = []
        leave = asyncio.Event()
        asked = []
        for hospital in hospitals:
            asked.append(asyncio.create_task(_work(turns, hospital, done, leave)))
            await asyncio.sleep(0)
        and_then(asked, leave)
        await asyncio.gather(*asked, return_exceptions=True)
        return done

    return asyncio.run(run())


def test_the_hospitals_take_turns() -> None:
    done = _run(Turns(1, 9), "aaaaabbc", lambda _asked, leave: leave.set())
    assert "".join(done) == "aabcabaa"


def test_a_hospital_has_so_many_in_line_and_no_more() -> None:
    done = _run(Turns(1, 3), "aaaaab", lambda _asked, leave: leave.set())
    assert "".join(done) == "aaba"


def test_who_leaves_while_waiting_or_when_called_passes_the_turn_on() -> None:
    def leave_and_cancel(asked: list[asyncio.Task[None]], leave: asyncio.Event) -> None:
        asked[0].cancel()
        asked[1].cancel()
        leave.set()

    turns = Turns(1, 9)
    assert "".join(_run(turns, "abc", leave_and_cancel)) == "ac"
    assert "".join(_run(turns, "ab", lambda _asked, leave: leave.set())) == "ab", "the turn was given back"


def test_who_is_called_and_cancelled_at_once_passes_the_turn_on() -> None:
    async def run() -> None:
        turns = Turns(1, 9)
        holding = turns.turn("a")
        await holding.__aenter__()
        done: list[str] = []
        leave = asyncio.Event()
        leave.set()
        second, third = (asyncio.create_task(_work(turns, hospital, done, leave)) for hospital in "bc")
        await asyncio.sleep(0)
        await holding.__aexit__(None, None, None)
        second.cancel()
        await asyncio.gather(second, third, return_exceptions=True)
        assert done == ["c"]
        async with turns.turn("d"):
            pass

    asyncio.run(run())

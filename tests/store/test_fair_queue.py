"""The queue of the record: by hospitals in turn."""

from __future__ import annotations

import asyncio

from app.store.decisions import MAX_GROUP, _group
from app.store.fair_queue import FairQueue


def queue_of(*waiting: str | None) -> FairQueue[str]:
    """Things whose first letter tells their hospital."""
    queue: FairQueue[str] = FairQueue(lambda thing: thing[0])
    for thing in waiting:
        queue.put_nowait(thing)
    return queue


def drained(queue: FairQueue[str]) -> list[str | None]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


def test_one_hospital_is_served_first_in_first_out() -> None:
    queue = queue_of("a1", "a2", "a3")
    assert (queue.qsize(), queue.empty()) == (3, False)
    assert drained(queue) == ["a1", "a2", "a3"]
    assert (queue.qsize(), queue.empty()) == (0, True)


def test_hospitals_take_turns_and_who_comes_back_is_last() -> None:
    queue = queue_of("a1", "a2", "a3", "b1", "b2", "c1")
    assert [queue.get_nowait() for _ in range(3)] == ["a1", "b1", "c1"]
    queue.put_nowait("c2")
    assert drained(queue) == ["a2", "b2", "c2", "a3"]


def test_the_word_to_stop_comes_after_all_else_and_can_be_put_back() -> None:
    queue = queue_of("a1", None, "b1")
    assert drained(queue) == ["a1", "b1", None]
    queue.put_nowait(None)
    assert (queue.qsize(), queue.get_nowait()) == (1, None)


def test_who_waits_for_something_is_woken() -> None:
    async def run() -> str | None:
        queue: FairQueue[str] = FairQueue(lambda thing: thing[0])
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.put_nowait("a1")
        return await waiting

    assert asyncio.run(run()) == "a1"


def test_two_thousand_of_one_hospital_do_not_hold_up_anothers_one() -> None:
    queue = queue_of(*(f"a{number}" for number in range(2000)), "b1", None)
    first = asyncio.run(_group(queue))
    assert len(first) == MAX_GROUP
    assert "b1" in first
    groups = [first]
    while group := asyncio.run(_group(queue)):
        groups.append(group)
    assert sum(map(len, groups)) == 2001

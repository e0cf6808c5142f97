"""A queue in which the hospitals take turns: one that brings two thousand does not hold up another one's single thing by more than its turn."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TypeVar

_Waiting = TypeVar("_Waiting")


class FairQueue(asyncio.Queue[_Waiting | None]):
    """First in, first out for each hospital, and round robin between them. None, the word to stop, comes out after all else."""

    def __init__(self, hospital_of: Callable[[_Waiting], str]) -> None:
        """`hospital_of` tells whose a thing is."""
        self._hospital_of = hospital_of
        self._turns: OrderedDict[str, deque[_Waiting]] = OrderedDict()
        self._waiting = 0
        self._stops = 0
        super().__init__()

    # `asyncio.Queue` is made to be built on by these three, as `PriorityQueue` and `LifoQueue` of the standard library are.
    def _init(self, maxsize: int) -> None:
        """Everything is there already."""

    def qsize(self) -> int:
        """How much waits."""
        return self._waiting + self._stops

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self.qsize()

    def _put(self, item: _Waiting | None) -> None:
        if item is None:
            self._stops += 1
            return
        self._waiting += 1
        self._turns.setdefault(self._hospital_of(item), deque()).append(item)

    def _get(self) -> _Waiting | None:
        if not self._turns:
            self._stops -= 1
            return None
        hospital, mine = next(iter(self._turns.items()))
        self._waiting -= 1
        item = mine.popleft()
        if mine:
            self._turns.move_to_end(hospital)
        else:
            del self._turns[hospital]
        return item

"""What stays in memory is set aside from the collector of cycles, and a cycle that was there by chance is let go later."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from app.cache import garbage
from app.cache.garbage import SETTLE_AFTER, WHOLE_EVERY, settle, unsettle


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "_read", 0)
    monkeypatch.setattr(garbage, "_times", 0)
    unsettle()
    yield
    unsettle()


def test_many_grants_are_set_aside_and_few_are_not() -> None:
    settle(SETTLE_AFTER - 1)
    assert gc.get_freeze_count() == 0
    settle(1)
    assert gc.get_freeze_count() > 0
    unsettle()
    assert gc.get_freeze_count() == 0


def test_a_cycle_that_was_set_aside_is_let_go_in_the_end() -> None:
    knot = Knot()
    seen = weakref.ref(knot)
    settle(SETTLE_AFTER)
    del knot
    gc.collect()
    assert seen() is not None
    for _ in range(WHOLE_EVERY - 1):
        settle(SETTLE_AFTER)
    assert seen() is None

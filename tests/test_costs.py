"""What a check costs, in counts that no machine's mood changes: groups committed, statements, round trips to Redis, calls of functions.

The bounds are what was counted when they were written, with a little room. Who makes a check dearer sees it here, and either mends it or says why.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from app.engine.decide import decide
from app.engine.hospital import CompiledHospital
from app.engine.model import Verdict
from app.main import Gateway
from app.settings import Settings
from app.store.keys import Key
from app.telemetry import families
from loadtests import worlds
from tests.servers import redis
from tests.service.conftest import anyio_backend, gateway, keys_fixture, settings, shared, store, store_template, template
from tests.service.orders import order

__all__ = ["anyio_backend", "gateway", "keys_fixture", "settings", "shared", "store", "store_template", "template"]

pytestmark = pytest.mark.anyio

CHECKS = 1000
GROUPS = 4
"""1,000 checks that come at once are four groups of 256 at most."""

STATEMENTS = Counter(
    SELECT=GROUPS
    * 6,  # before: earlier answers, cases; in the transaction: earlier answers, cases begun meanwhile, the chain's head and its archive's
    INSERT=GROUPS * 8,  # decisions, what they are found by, the chain: each in pieces of powers of two
)
CALLS_OF_A_DECISION = 75
"""Of the median of typical orders; one of a technology takes twice as many."""


async def test_a_thousand_checks_at_once_are_four_commits(gateway: Gateway, keys: dict[str, str]) -> None:
    await _check(gateway, keys, 1)
    committed = _commits(gateway)
    await _check(gateway, keys, CHECKS)
    assert _commits(gateway) - committed == GROUPS


async def test_a_group_is_few_statements(gateway: Gateway, keys: dict[str, str]) -> None:
    if not gateway.database.embedded:
        pytest.skip("rows are copied to PostgreSQL past what counts statements")
    await _check(gateway, keys, 1)
    with _statements() as counted:
        await _check(gateway, keys, CHECKS)
    assert counted <= STATEMENTS, counted


async def test_a_check_asks_nothing_of_redis(settings: Settings, keys: dict[str, str], tmp_path: Path) -> None:
    with redis(tmp_path / "redis") as server:
        gateway = Gateway(settings.model_copy(update={"redis_url": server.url()}))
        async with gateway.app.router.lifespan_context(gateway.app):
            await _check(gateway, keys, 1)
            before = _asked_of(server.call("INFO", "commandstats"))
            await _check(gateway, keys, CHECKS)
            asked = _asked_of(server.call("INFO", "commandstats")) - before
    # The feed waits, the duty beats, the test itself asks: none of it for a check.
    assert asked.total() < CHECKS / 10, asked


def test_a_typical_order_is_few_calls() -> None:
    source = worlds.hospital()
    hospital, matrix = CompiledHospital(source), worlds.matrix(source, 4000)
    held = worlds.codes_in_force(source, worlds.people(source, 4000))
    typical = worlds.typical_orders([question for question in worlds.questions(source, held, 40) if question.allowed], 4000)
    for one in typical:
        assert decide(one, hospital, matrix, None, worlds.NOW).decision is Verdict.ALLOW  # once: what is remembered of a code is made now
    calls = sorted(_calls(partial(decide, one, hospital, matrix, None, worlds.NOW)) for one in typical)
    assert calls[len(calls) // 2] <= CALLS_OF_A_DECISION, calls
    assert calls[-1] <= 3 * CALLS_OF_A_DECISION, calls


async def _check(gateway: Gateway, keys: dict[str, str], count: int) -> None:
    key = gateway.guard.known(f"Bearer {keys['his']}")
    assert isinstance(key, Key)
    # None is refused for being expected to wait too long: how fast this machine is does not matter here.
    gateway.admission._in_time = lambda lines: math.inf  # type: ignore[method-assign]
    bodies = [json.dumps(order()).encode() for _ in range(count)]
    answers = await asyncio.gather(*(gateway.authorizer.check(body, key) for body in bodies))
    assert all(b'"decision":"allow"' in answer for answer in answers)


def _commits(gateway: Gateway) -> float:
    memory = gateway.meters.memory
    cells = memory.cells(families.COMMIT_RECORDS, ())
    return sum(cells[:-1])


@contextmanager
def _statements() -> Iterator[Counter[str]]:
    """Counts the statements about the record, by their first word."""
    counted: Counter[str] = Counter()

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if any(f"{word} {table}" in statement for word in ("FROM", "INTO") for table in ("decision", "chain", "archives")):
            counted[statement.split()[0]] += 1

    event.listen(Engine, "before_cursor_execute", count)
    try:
        yield counted
    finally:
        event.remove(Engine, "before_cursor_execute", count)


def _asked_of(statistics: str) -> Counter[str]:
    """By command, how often Redis was asked."""
    lines = (line.partition(":calls=") for line in statistics.splitlines() if line.startswith("cmdstat_"))
    return Counter({name: int(rest.partition(",")[0]) for name, _, rest in lines})


def _calls(do: Callable[[], object]) -> int:
    """How many functions are called, ours and those in C."""
    counted = 0

    def count(_frame: Any, what: str, _argument: Any) -> None:
        nonlocal counted
        counted += what in ("call", "c_call")

    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(None)
    return counted

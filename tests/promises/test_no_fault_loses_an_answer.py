"""Promises 1, 3 and 4 on PostgreSQL and Redis: whatever is killed, frozen or cut off under load, checks go on being answered, every answer that left is
recorded exactly once, and everything is as before when the fault is over."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fleet import WAIT_SECONDS, Answer, Clients, Fleet, Prepared, fleet, prepare
from tests.measured import Measured

MANY = 40
"""Answers that are waited for before, during and after a fault."""


class Fault(NamedTuple):
    """What breaks and how it is mended. `degraded`: answers say so meanwhile, at least on the first node."""

    begin: Callable[[Fleet], None]
    end: Callable[[Fleet], None]
    degraded: bool = False


def _kill_worker(deployment: Fleet) -> None:
    os.kill(deployment.nodes[0].gateway.workers()[0], signal.SIGKILL)


def _nothing(_deployment: Fleet) -> None:
    pass


def _both(*steps: Callable[[Fleet], None]) -> Callable[[Fleet], None]:
    def take(deployment: Fleet) -> None:
        for step in steps:
            step(deployment)

    return take


def _restart_node(deployment: Fleet) -> None:
    deployment.nodes[0].gateway.start()


def _start_without_anything(deployment: Fleet) -> None:
    deployment.database.kill()
    deployment.cache.kill()
    deployment.nodes[0].gateway.kill()
    deployment.nodes[0].gateway.start()


FAULTS = {
    "a worker killed": Fault(_kill_worker, _nothing),
    "a node killed": Fault(lambda f: f.nodes[0].gateway.kill(), _restart_node),
    "PostgreSQL killed": Fault(lambda f: f.database.kill(), lambda f: f.database.start(), degraded=True),
    "PostgreSQL frozen": Fault(lambda f: f.database.freeze(), lambda f: f.database.thaw(), degraded=True),
    "a node cut off from PostgreSQL": Fault(lambda f: f.nodes[0].database.cut(), lambda f: f.nodes[0].database.heal(), degraded=True),
    "the way to PostgreSQL hanging": Fault(lambda f: f.nodes[0].database.hang(), lambda f: f.nodes[0].database.heal(), degraded=True),
    "the way to PostgreSQL slow (20 ms)": Fault(lambda f: f.nodes[0].database.slow(0.02), lambda f: f.nodes[0].database.heal()),
    "the connections to PostgreSQL forgotten": Fault(lambda f: f.nodes[0].database.forget(), _nothing),
    "Redis killed": Fault(lambda f: f.cache.kill(), lambda f: f.cache.start()),
    "Redis frozen": Fault(lambda f: f.cache.freeze(), lambda f: f.cache.thaw()),
    "a node cut off from Redis": Fault(lambda f: f.nodes[0].redis.cut(), lambda f: f.nodes[0].redis.heal()),
    "the way to Redis slow (20 ms)": Fault(lambda f: f.nodes[0].redis.slow(0.02), lambda f: f.nodes[0].redis.heal()),
    "the way to Redis hanging": Fault(lambda f: f.nodes[0].redis.hang(), lambda f: f.nodes[0].redis.heal()),
    "a node started without PostgreSQL and Redis": Fault(
        _start_without_anything, _both(lambda f: f.database.start(), lambda f: f.cache.start()), degraded=True
    ),
    "PostgreSQL and Redis killed": Fault(
        _both(lambda f: f.cache.kill(), lambda f: f.database.kill()),
        _both(lambda f: f.database.start(), lambda f: f.cache.start()),
        degraded=True,
    ),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("prepared") / "hospital")


@pytest.fixture
def deployment(prepared: Prepared, tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, prepared) as made:
        yield made


@pytest.mark.parametrize("name", FAULTS)
def test_what_was_answered_is_recorded_once(deployment: Fleet, measured: Measured, name: str) -> None:
    fault = FAULTS[name]
    with Clients([node.gateway for node in deployment.nodes], deployment.keys["his"], "R") as clients:
        clients.wait_for(MANY)
        began, seen = time.monotonic(), len(clients.answers)
        fault.begin(deployment)
        clients.wait_for(MANY, (lambda a: a.degraded and a.node == 0) if fault.degraded else (lambda a: a.decided))
        fault.end(deployment)
        ended = time.monotonic()
        clients.wait_for(MANY, lambda a: a.decided and not a.degraded and a.node == 0)
        normal = _normal_again(deployment)
        clients.wait_for(MANY)
    _normal_again(deployment)  # on a slow machine the last ones may be in the journal
    answers = list(clients.answers)
    during = [a for a in answers[seen:] if a.sent >= began and a.answered <= ended]
    statuses = Counter(a.reply.status for a in answers if a.reply is not None)
    assert set(statuses) <= {200, 503}, statuses
    recorded = _recorded(deployment)
    answered = {a.request_id: a.reply.json["decision_id"] for a in answers if a.decided and a.reply is not None}
    lost = {request_id: id_ for request_id, id_ in answered.items() if recorded.get(request_id) != [id_]}
    assert not lost, lost
    assert all(a.reply.json["decision"] == "allow" for a in answers if a.decided and a.reply is not None)
    for number in range(len(deployment.nodes)):
        assert "完整 whole" in deployment.verify(number)
    measured.add(name, **_figures(during, answers[:seen], normal - ended), recorded=len(recorded), lost=len(lost))


def _normal_again(deployment: Fleet) -> float:
    """Wait until every node says that it is as it should be, and nothing is left to be drained; when that was."""
    give_up = time.monotonic() + WAIT_SECONDS
    while True:
        states = [node.gateway.call("GET", "/readyz") for node in deployment.nodes]
        if all(state.status == 200 and not state.json["degraded"] and not state.json["journal"]["waiting"] for state in states):
            return time.monotonic()
        assert time.monotonic() < give_up, [state.json for state in states]
        time.sleep(0.05)


def _recorded(deployment: Fleet) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for request_id, decision_id in deployment.rows("SELECT request_id, id FROM decisions ORDER BY seq"):
        found.setdefault(request_id, []).append(decision_id)
    return found


def _figures(during: list[Answer], before: list[Answer], normal_seconds: float) -> dict[str, float]:
    def slowest(answers: list[Answer]) -> float:
        return round(max((a.answered - a.sent for a in answers if a.decided), default=0.0), 3)

    return {
        "answered": sum(a.decided for a in during),
        "degraded": sum(a.degraded for a in during),
        "refused": sum(a.reply is not None and not a.decided for a in during),
        "unanswered": sum(a.reply is None for a in during),
        "slowest_before": slowest(before),
        "slowest": slowest(during),
        "normal_after": round(normal_seconds, 3),
    }

"""Promises 1, 3 and 4 on PostgreSQL and Redis: whatever is killed, frozen or cut off under load, checks go on being answered, every answer that left is
recorded exactly once, and everything is as before when the fault is over."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fleet import Clients, Fleet, Prepared, fleet, prepare
from tests.measured import Measured
from tests.promises.reckoning import MANY, Reckoning


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
    "the way to Redis hanging": Fault(lambda f: f.nodes[0].redis.hang(), lambda f: f.nodes[0].redis.heal()),
    "the way to Redis slow (20 ms)": Fault(lambda f: f.nodes[0].redis.slow(0.02), lambda f: f.nodes[0].redis.heal()),
    "PostgreSQL and Redis killed": Fault(
        _both(lambda f: f.cache.kill(), lambda f: f.database.kill()),
        _both(lambda f: f.database.start(), lambda f: f.cache.start()),
        degraded=True,
    ),
    "a node started without PostgreSQL and Redis": Fault(
        _start_without_anything, _both(lambda f: f.database.start(), lambda f: f.cache.start()), degraded=True
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
    gateways = [node.gateway for node in deployment.nodes]
    reckoning = Reckoning(gateways, deployment.database)
    with Clients(gateways, deployment.keys["his"], "R") as clients:
        clients.wait_for(MANY)
        reckoning.begin()
        fault.begin(deployment)
        clients.wait_for(MANY, (lambda a: a.degraded and a.node == 0) if fault.degraded else (lambda a: a.decided))
        fault.end(deployment)
        reckoning.end()
        clients.wait_for(MANY, lambda a: a.decided and not a.degraded and a.node == 0)
        reckoning.wait_until_normal()
        clients.wait_for(MANY)
    measured.add(name, **reckoning.settle(clients.answers))

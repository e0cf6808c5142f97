"""Where promises 2 and 3 meet: a node that is cut off from the database cannot know of a revoke that is made at another one. When the revoke has returned,
each check that starts at the cut-off node is denied, or its answer says `degraded`."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from loadtests.soak import BECAUSE
from tests.fleet import WAIT_SECONDS, Fleet, Prepared, fleet, prepare
from tests.served import an_order
from tests.servers import Proxy

STAFF = "100007"
ROUNDS = 2
CHECKS = 40
"""Sent to the cut-off node after each revoke: to both of its workers, and for longer than a second, so that the state which each one was in is seen."""

PAUSE_SECONDS = 0.03

BREAKS: dict[str, Callable[[Proxy], None]] = {"cut": lambda way: way.cut(), "hanging": lambda way: way.hang()}

_numbers = itertools.count()


class Said(NamedTuple):
    """What an answer says."""

    decision: str
    degraded: bool


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("cut-off")
    prepared: Prepared = prepare(folder / "prepared")
    with fleet(folder / "fleet", prepared) as made:
        yield made


def _check(deployment: Fleet, node: int) -> Said:
    """By a connection of its own: either worker may get it."""
    order = an_order(f"R-{next(_numbers)}", procedures=[{"code": "38.45008", "operator": STAFF}], requester=STAFF)
    reply = deployment.nodes[node].gateway.call("POST", "/v1/check", deployment.keys["his"], order)
    assert reply.status == 200, reply.body
    return Said(reply.json["decision"], reply.json["matrix"]["degraded"])


def _turn(deployment: Fleet, what: str) -> None:
    """Return when it is in force. 503: on a busy machine the other node, too, may hold the database for away for a moment."""
    give_up, node = time.monotonic() + WAIT_SECONDS, deployment.nodes[1].gateway
    while (reply := node.call("POST", f"/v1/staff/{STAFF}/{what}", deployment.keys["medical_affairs"], BECAUSE)).status == 503:
        assert time.monotonic() < give_up, reply.body
        time.sleep(0.05)
    assert reply.status in (200, 409), reply.body


@pytest.mark.parametrize("name", BREAKS)
def test_after_a_revoke_it_denies_or_says_that_it_is_cut_off(deployment: Fleet, name: str) -> None:
    way = deployment.nodes[0].database
    for _ in range(ROUNDS):
        assert _check(deployment, 0).decision == "allow"
        BREAKS[name](way)
        try:
            _turn(deployment, "suspend")
            seen = []
            for _ in range(CHECKS):
                seen.append(_check(deployment, 0))
                time.sleep(PAUSE_SECONDS)
        finally:
            way.heal()
        assert all(said.decision == "deny" or said.degraded for said in seen), seen
        assert any(said.degraded for said in seen), "it was not cut off"
        assert _check(deployment, 1).decision == "deny"
        _until_it_is_back(deployment)
        assert _check(deployment, 0).decision == "deny"
        _turn(deployment, "resume")


def _until_it_is_back(deployment: Fleet) -> None:
    """Both workers have: enough answers in a row say so."""
    give_up, in_a_row = time.monotonic() + WAIT_SECONDS, 0
    while in_a_row < 20:
        in_a_row = 0 if _check(deployment, 0).degraded else in_a_row + 1
        assert time.monotonic() < give_up, "still degraded"

"""Two nodes on one PostgreSQL behind the balancer of `deploy/compose`, the real HAProxy with the very file, under load. Stopped and started one after
the other, as an upgrade does: every check is answered the first time. A node killed: what had no answer is sent again. Each is recorded once."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.balancer import FROM, Balancer, balancer
from tests.served import ROOT, Reply, Served, an_order, call, environment, served
from tests.service.conftest import Shared, shared

__all__ = ["shared"]

CLIENTS = 12
BETWEEN = 20
"""Checks that each client is answered before the next node is stopped."""

BAD_GATEWAY = 502
TRIES, AGAIN_SECONDS = 100, 0.1
"""Of a check that had no answer."""

EACH = 30
"""Checks that a node answers before the other one is stopped."""

DATABASE = "rolling"


class Balanced(NamedTuple):
    """Two gateways by their names, each with a folder of its own and the same key for the seals, and what stands before them."""

    nodes: Mapping[str, Served]
    balancer: Balancer
    database: Shared


@pytest.fixture
def balanced(shared: Shared, tmp_path: Path) -> Iterator[Balanced]:
    shared.server.execute(f"CREATE DATABASE {DATABASE} TEMPLATE template")
    try:
        with ExitStack() as stack:
            nodes = {}
            for name in ("gateway1", "gateway2"):
                var = tmp_path / name
                var.mkdir()
                shutil.copyfile(shared.folder / "seal-key.pem", var / "seal-key.pem")
                url = shared.server.url(DATABASE)
                nodes[name] = stack.enter_context(served(var, workers="2", database_url=url, trusted_proxies=FROM))
            yield Balanced(nodes, stack.enter_context(balancer(tmp_path / "balancer", nodes)), shared)
    finally:
        shared.server.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


class Client(threading.Thread):
    """Sends one check after the other on a connection that is kept. One that had no answer is sent again, as a HIS is asked to."""

    def __init__(self, to: Balancer, key: str, name: str, stop: threading.Event) -> None:
        super().__init__(name=name)
        self._to, self._key, self._halt = to, key, stop
        self._connection = to.connect()
        self.answered: dict[str, Any] = {}
        self.again: list[str] = []
        self.failed = ""

    def run(self) -> None:
        try:
            while not self._halt.is_set():
                request = f"{self.name}-{len(self.answered)}"
                replies = (self._ask(request) for _ in range(TRIES))
                reply = next((one for one in replies if one is not None and one.status < BAD_GATEWAY), None)
                assert reply is not None, request
                assert reply.status == 200, (request, reply)
                self.answered[request] = reply.json
        except AssertionError as error:
            self.failed = str(error)
        finally:
            self._connection.close()

    def _ask(self, request: str) -> Reply | None:
        try:
            reply = call(self._connection, "POST", "/v1/check", self._key, an_order(request))
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = self._to.connect()
            reply = None
        if reply is None or reply.status >= BAD_GATEWAY:
            self.again.append(request)
            time.sleep(AGAIN_SECONDS)
        return reply


@contextmanager
def clients(balanced: Balanced) -> Iterator[list[Client]]:
    """They work until the end of it."""
    stop = threading.Event()
    made = [Client(balanced.balancer, balanced.database.keys["his"], f"U{number}", stop) for number in range(CLIENTS)]
    for client in made:
        client.start()
    try:
        yield made
    finally:
        stop.set()
        for client in made:
            client.join()


def test_every_check_is_answered_while_the_nodes_are_upgraded_one_after_the_other(balanced: Balanced) -> None:
    with clients(balanced) as working:
        for node in balanced.nodes.values():
            _let_them_work(working)
            _until_both_are_asked(balanced, working)
            assert node.stop() == 0
            _let_them_work(working)
            node.start()
    answered = _all_answered_and_recorded_once(balanced, working)
    assert len(answered) >= 4 * BETWEEN * CLIENTS
    assert not [request for client in working for request in client.again]
    # A stop answers what it has taken: nobody had to ask again for an answer that was lost.
    assert not [request for request, reply in answered.items() if reply["replayed"]]
    for node in balanced.nodes.values():
        # Each has sealed a part of the chain alone, and vouches for the whole.
        verified = subprocess.run(
            [sys.executable, "-m", "app", "audit", "verify"], cwd=ROOT, env=environment(**node.settings), capture_output=True
        )
        assert verified.returncode == 0, verified.stdout.decode()


def test_every_check_is_answered_while_a_node_is_killed(balanced: Balanced) -> None:
    """What was under way there may end without an answer: HAProxy sends again what it saw end, but passes on a connection that was reset."""
    with clients(balanced) as working:
        _let_them_work(working)
        _until_both_are_asked(balanced, working)
        balanced.nodes["gateway1"].kill()
        _let_them_work(working)
    _all_answered_and_recorded_once(balanced, working)


def _let_them_work(working: list[Client]) -> None:
    """Wait until every client has had that many more answers, or has failed."""
    before = [len(client.answered) for client in working]
    while any(len(client.answered) < had + BETWEEN and client.is_alive() for client, had in zip(working, before, strict=True)):
        time.sleep(0.02)


def _until_both_are_asked(balanced: Balanced, working: list[Client]) -> None:
    """Wait until the balancer knows that each node is there: it looks every second, and believes what it has seen twice."""
    before = balanced.balancer.taken()
    while not all(balanced.balancer.taken().get(name, 0) >= before.get(name, 0) + EACH for name in balanced.nodes):
        assert any(client.is_alive() for client in working), [client.failed for client in working]
        time.sleep(0.1)


def _all_answered_and_recorded_once(balanced: Balanced, worked: list[Client]) -> dict[str, Any]:
    assert not [client.failed for client in worked if client.failed]
    answered = {request: reply for client in worked for request, reply in client.answered.items()}
    server = balanced.database.server
    rows = server.execute("SELECT json_object_agg(request_id, id) FROM decisions WHERE request_id LIKE 'U%'", DATABASE)
    assert json.loads(rows) == {request: reply["decision_id"] for request, reply in answered.items()}
    assert server.execute("SELECT count(*) FROM decisions", DATABASE) == str(len(answered))
    return answered

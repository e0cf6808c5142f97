"""Two nodes on one PostgreSQL are stopped and started one after the other, as an upgrade does, under load: clients that do what a balancer does (the next
node where a connection is refused or ends before an answer) see every check answered."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.served import ROOT, Served, an_order, call, environment, served
from tests.service.conftest import Shared, shared

__all__ = ["shared"]

CLIENTS = 12
BETWEEN = 20
"""Checks that are answered before the next node is stopped."""


@pytest.fixture
def nodes(shared: Shared, tmp_path: Path) -> Iterator[tuple[Served, Served]]:
    """Two gateways, each with a folder of its own and the same key for the seals."""
    shared.server.execute("CREATE DATABASE rolling TEMPLATE template")
    with ExitStack() as stack:
        made = []
        for name in ("one", "two"):
            var = tmp_path / name
            var.mkdir()
            shutil.copyfile(shared.folder / "seal-key.pem", var / "seal-key.pem")
            made.append(stack.enter_context(served(var, workers="2", database_url=shared.server.url("rolling"))))
        yield made[0], made[1]


class Client(threading.Thread):
    """Sends one check after the other, to the nodes in turn."""

    def __init__(self, nodes: tuple[Served, Served], key: str, name: str, stop: threading.Event) -> None:
        super().__init__(name=name)
        self._nodes, self._key, self._halt = nodes, key, stop
        self._open: dict[int, http.client.HTTPConnection] = {}
        self.answered: dict[str, Any] = {}
        self.moved = 0
        self.failed: list[str] = []

    def run(self) -> None:
        try:
            while not self._halt.is_set():
                turn = len(self.answered)
                request = f"{self.name}-{turn}"
                self.answered[request] = self._ask(turn % 2, an_order(request))
        except AssertionError as error:
            self.failed.append(str(error))
        finally:
            for connection in self._open.values():
                connection.close()

    def _ask(self, first: int, order: dict[str, Any]) -> Any:
        for node in (first, 1 - first):
            for _ in range(2):  # a kept connection may have ended meanwhile: a new one tells whether its node is there
                try:
                    connection = self._open.setdefault(node, self._nodes[node].connect())
                    reply = call(connection, "POST", "/v1/check", self._key, order)
                except (OSError, http.client.HTTPException):
                    self._open.pop(node).close()
                    self.moved += 1
                else:
                    assert reply.status == 200, reply
                    return reply.json
        raise AssertionError(f"no node took {order['request_id']}")


def test_every_check_is_answered_while_the_nodes_are_upgraded_one_after_the_other(nodes: tuple[Served, Served], shared: Shared) -> None:
    stop = threading.Event()
    clients = [Client(nodes, shared.keys["his"], f"U{number}", stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for node in nodes:
            _let_them_work(clients)
            assert node.stop() == 0
            _let_them_work(clients)
            node.start()
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert not [text for client in clients for text in client.failed]
    answered = {request: reply for client in clients for request, reply in client.answered.items()}
    assert len(answered) >= 4 * BETWEEN * CLIENTS
    assert sum(client.moved for client in clients) >= 2, "nobody met a node that was stopped"
    # A stop answers what it has taken: nobody had to ask again for an answer that was lost.
    assert not [request for request, reply in answered.items() if reply["replayed"]]
    rows = shared.server.execute("SELECT json_object_agg(request_id, id) FROM decisions WHERE request_id LIKE 'U%'", "rolling")
    assert json.loads(rows) == {request: reply["decision_id"] for request, reply in answered.items()}
    assert shared.server.execute("SELECT count(*) FROM decisions", "rolling") == str(len(answered))
    for node in nodes:
        # Each has sealed a part of the chain alone, and vouches for the whole.
        verified = subprocess.run(
            [sys.executable, "-m", "app", "audit", "verify"], cwd=ROOT, env=environment(**node.settings), capture_output=True
        )
        assert verified.returncode == 0, verified.stdout.decode()


def _let_them_work(clients: list[Client]) -> None:
    """Wait until every client has had that many more answers, or has failed."""
    before = [len(client.answered) for client in clients]
    while any(len(client.answered) < had + BETWEEN and client.is_alive() for client, had in zip(clients, before, strict=True)):
        time.sleep(0.02)

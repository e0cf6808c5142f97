"""Overload is refused early, emergencies last: a real service under more than it may take in hand sheds elective checks and batches, and answers
every emergency."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.served import Reply, Served, an_order, call, served

ELECTIVE_CLIENTS = 30
BATCH_CLIENTS = 4
EMERGENCY_CLIENTS = 2
"""As many as find room besides the elective ones: of ten, those of one hospital fill six, and emergencies go on to eight."""

SHED_ENOUGH = 200
EMERGENCIES_ENOUGH = 60


@pytest.fixture
def service(tmp_path: Path, template: Any) -> Iterator[Served]:
    with served(tmp_path / "var", template.path, max_waiting_checks="10", access_log="false") as made:
        yield made


class Load:
    """What the clients saw, and whether it is enough."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.emergencies: dict[str, Reply] = {}
        self.shed: list[tuple[dict[str, Any], Reply]] = []
        self.shed_in_batches = 0
        self.wrong: list[Reply] = []

    def is_enough(self) -> bool:
        with self.lock:
            shed = len(self.shed) >= SHED_ENOUGH and self.shed_in_batches >= SHED_ENOUGH
            return bool(self.wrong) or (shed and len(self.emergencies) >= EMERGENCIES_ENOUGH)


def test_emergencies_are_all_answered_while_elective_checks_and_batches_are_shed(service: Served, keys: dict[str, str]) -> None:
    load = Load()

    def elective(connection: http.client.HTTPConnection, name: str) -> None:
        order = an_order(name)
        reply = call(connection, "POST", "/v1/check", keys["his"], order)
        with load.lock:
            if reply.status == 503:
                load.shed.append((order, reply))
            elif reply.status != 200:
                load.wrong.append(reply)

    def batch(connection: http.client.HTTPConnection, name: str) -> None:
        checks = [an_order(f"{name}-{index}") for index in range(100)]
        reply = call(connection, "POST", "/v1/check/batch", keys["his"], {"checks": checks})
        with load.lock:
            if reply.status != 200:
                load.wrong.append(reply)
                return
            load.shed_in_batches += sum(result.get("status") == 503 for result in reply.json["results"])

    def emergency(connection: http.client.HTTPConnection, name: str) -> None:
        reply = call(connection, "POST", "/v1/check", keys["his"], an_order(name, urgency="emergency"))
        with load.lock:
            load.emergencies[name] = reply
            if reply.status != 200:
                load.wrong.append(reply)

    clients = [(elective, "EL", ELECTIVE_CLIENTS), (batch, "BA", BATCH_CLIENTS), (emergency, "EM", EMERGENCY_CLIENTS)]
    with ThreadPoolExecutor(ELECTIVE_CLIENTS + BATCH_CLIENTS + EMERGENCY_CLIENTS) as pool:
        running = [
            pool.submit(_until_enough, service, load, send, f"{kind}{client}") for send, kind, count in clients for client in range(count)
        ]
        for one in running:
            one.result()

    assert not load.wrong, load.wrong[0]
    assert all(int(reply.headers["retry-after"]) >= 1 for _, reply in load.shed)
    kept = {row[0] for row in service.rows("SELECT request_id FROM decisions")}
    assert load.emergencies.keys() <= kept
    # What was shed was not decided: it is not in the record, and the same bytes get their first answer when they come again.
    assert kept.isdisjoint(order["request_id"] for order, _ in load.shed)
    again = service.call("POST", "/v1/check", keys["his"], load.shed[0][0])
    assert (again.status, again.json["replayed"]) == (200, False)
    counted = service.call("GET", "/metrics").body.decode()
    assert 'surgate_admissions_total{outcome="shed",rank="elective"}' in counted
    assert 'surgate_admissions_total{outcome="shed",rank="emergency"}' not in counted


def _until_enough(service: Served, load: Load, send: Callable[[http.client.HTTPConnection, str], None], name: str) -> None:
    connection = service.connect()
    try:
        number = 0
        while not load.is_enough():
            number += 1
            send(connection, f"{name}-{number}")
    finally:
        connection.close()

"""One hospital's load does not starve another's: while one sends far more checks, batches and readings than may be in hand, every check and every
reading of the other one is answered."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.promises.other_hospital import other_pack
from tests.served import Reply, Served, an_order, call, served
from tests.service.conftest import Template

ELECTIVE_CLIENTS, EMERGENCY_CLIENTS, BATCH_CLIENTS, READING_CLIENTS = 12, 10, 1, 4
"""More than find room: of ten, emergencies of one hospital fill eight. Three readings are made at once."""

PAUSE_SECONDS = 0.05
"""Of who was refused: the clients are one process, which would else have no time for the other hospital's."""

SHED_ENOUGH = 100
ENOUGH = 20
"""Checks of the hospital that sends few, with and without the other one's load; and as many readings."""

Send = Callable[[http.client.HTTPConnection, str], None]


@pytest.fixture
def service(tmp_path: Path, template: Template) -> Iterator[Served]:
    """Ten checks may be in hand."""
    with served(tmp_path / "var", template.path, max_waiting_checks="10", access_log="false") as made:
        made.command("import", str(other_pack(tmp_path / "pack")))
        yield made


class Flood:
    """What the hospital that sends much was answered."""

    def __init__(self, service: Served, key: str) -> None:
        self._service, self._key = service, key
        self._lock = threading.Lock()
        self.stop = threading.Event()
        self.admitted = self.shed = 0
        self.wrong: list[Reply] = []

    def clients(self) -> list[Send]:
        return [
            *[self._check("elective")] * ELECTIVE_CLIENTS,
            *[self._check("emergency")] * EMERGENCY_CLIENTS,
            *[self._batch] * BATCH_CLIENTS,
            *[self._read] * READING_CLIENTS,
        ]

    def run(self, send: Send, name: str) -> None:
        connection = self._service.connect()
        try:
            number = 0
            while not self.stop.is_set():
                number += 1
                send(connection, f"{name}-{number}")
        finally:
            connection.close()

    def _check(self, urgency: str) -> Send:
        def send(connection: http.client.HTTPConnection, name: str) -> None:
            self._count([call(connection, "POST", "/v1/check", self._key, an_order(name, urgency=urgency))])

        return send

    def _batch(self, connection: http.client.HTTPConnection, name: str) -> None:
        orders = [an_order(f"{name}-{index}") for index in range(50)]
        reply = call(connection, "POST", "/v1/check/batch", self._key, {"checks": orders})
        self._count([reply] if reply.status != 200 else [], [one.get("status") for one in reply.json.get("results", [])])

    def _read(self, connection: http.client.HTTPConnection, _name: str) -> None:
        self._count([call(connection, "GET", "/v1/decisions?limit=50", self._key)])

    def _count(self, replies: list[Reply], results: list[int | None] | None = None) -> None:
        with self._lock:
            statuses = [reply.status for reply in replies] + [200 if status is None else status for status in results or []]
            self.admitted += statuses.count(200)
            self.shed += statuses.count(503)
            self.wrong += [reply for reply in replies if reply.status not in (200, 503)]
        if 503 in statuses:
            time.sleep(PAUSE_SECONDS)


def test_every_check_of_one_hospital_is_answered_while_another_one_floods_the_service(service: Served, keys: dict[str, str]) -> None:
    few = service.command("keys", "create", "--hospital", "other", "--role", "his").split()[-1]
    alone = _trickle(service, few, "ALONE", lambda: True)
    flood = Flood(service, keys["his"])
    clients = flood.clients()
    with ThreadPoolExecutor(len(clients)) as pool:
        running = [pool.submit(flood.run, send, f"FLOOD{number}") for number, send in enumerate(clients)]
        try:
            beside = _trickle(service, few, "BESIDE", lambda: flood.shed >= SHED_ENOUGH or any(one.done() for one in running))
        finally:
            flood.stop.set()
        for one in running:
            one.result()
    assert not flood.wrong, flood.wrong[0]
    assert flood.shed >= SHED_ENOUGH
    print(f"the flood: {flood.admitted} answered, {flood.shed} refused")
    for name, times in (("alone", alone), ("beside the flood", beside)):
        print(f"the other hospital {name}: {len(times)} requests, median {median(times) * 1000:.0f} ms, longest {max(times) * 1000:.0f} ms")


def _trickle(service: Served, key: str, name: str, enough: Callable[[], bool]) -> list[float]:
    """One check after the other, of each urgency in turn, and a reading of the record after each; all must be answered. Seconds of each request."""
    connection = service.connect()
    times: list[float] = []

    def ask(method: str, path: str, body: Any = None) -> None:
        began = time.perf_counter()
        reply = call(connection, method, path, key, body)
        times.append(time.perf_counter() - began)
        assert reply.status == 200, reply

    try:
        number = 0
        while number < ENOUGH or not enough():
            ask("POST", "/v1/check", an_order(f"{name}-{number}", urgency=("elective", "urgent", "emergency")[number % 3]))
            ask("GET", "/v1/decisions?limit=1")
            number += 1
    finally:
        connection.close()
    return times

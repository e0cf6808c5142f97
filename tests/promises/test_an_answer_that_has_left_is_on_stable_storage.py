"""Promise 1: an answer that has left is on stable storage. `kill -9` of every process at any moment loses no answered check."""

from __future__ import annotations

import http.client
import random
import threading
import time
from pathlib import Path

import pytest

from app.store.database import Database
from tests.served import Reply, Served, an_order, call, served

ROUNDS = 3
CLIENTS = 12
LONGEST_ROUND_SECONDS = 2.0


class Clients:
    """Several clients that send one check after another, each on a connection of its own, and keep what they were answered."""

    def __init__(self, service: Served, key: str, prefix: str) -> None:
        self._service, self._key, self._prefix = service, key, prefix
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]
        self.answered: dict[str, Reply] = {}

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        connection = self._service.connect()
        sent = 0
        try:
            while not self._stop.is_set():
                sent += 1
                request_id = f"{self._prefix}-{number}-{sent}"
                reply = call(connection, "POST", "/v1/check", self._key, an_order(request_id))
                self.answered[request_id] = reply
        except (OSError, http.client.HTTPException):
            pass  # killed: what was not answered whole is not counted
        finally:
            connection.close()


def test_killed_at_any_moment_it_has_every_answer_that_a_client_received(
    store_template: Path, keys: dict[str, str], tmp_path: Path
) -> None:
    answered: dict[str, Reply] = {}
    with served(tmp_path / "var", store_template, workers="2", access_log="false") as service:
        for number in range(ROUNDS):
            clients = Clients(service, keys["his"], f"R{number}")
            clients.start()
            _until(lambda clients=clients: len(clients.answered) >= CLIENTS)
            time.sleep(random.uniform(0, LONGEST_ROUND_SECONDS))  # the moment is the point
            service.kill()
            clients.join()
            answered |= clients.answered
            _all_recorded(service, answered)
            service.start()
            _all_recorded(service, answered)
            _the_last_are_given_again(service, keys["his"], clients.answered)
        assert service.stop() == 0


@pytest.mark.anyio
async def test_a_commit_waits_for_stable_storage(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'surgate.db'}")
    async with database.engine.connect() as connection:
        settings = {name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")}
    await database.close()
    assert settings == {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL: the log is synced before a commit returns


def _all_recorded(service: Served, answered: dict[str, Reply]) -> None:
    recorded = dict(service.rows("SELECT request_id, answer FROM decisions"))
    assert {reply.status for reply in answered.values()} == {200}
    lost = [request_id for request_id, reply in answered.items() if recorded.get(request_id) != reply.body]
    assert not lost


def _the_last_are_given_again(service: Served, key: str, answered: dict[str, Reply]) -> None:
    for request_id in list(answered)[-CLIENTS:]:
        again = service.call("POST", "/v1/check", key, an_order(request_id)).json
        assert (again["replayed"], again["decision_id"]) == (True, answered[request_id].json["decision_id"])


def _until(true: object) -> None:
    assert callable(true)
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)

"""When a suspension or a stop has returned, no check that starts later, on any worker, still honours what was before."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.promises.workers import Worker

ORDER = json.loads((Path(__file__).parents[2] / "docs" / "example-order.json").read_text())
BECAUSE = {"reason": "并发症率复核", "by": "900001"}
LEASE_SECONDS = 1.0
FLIPPED_FOR_SECONDS = 6.0
CHECKING_THREADS = 3
FROZEN_ROUNDS = 4
GIVE_UP_SECONDS = 120.0
"""So that a test which would wait for ever fails; a busy machine may take seconds."""

_numbers = itertools.count()


class Switch(NamedTuple):
    """Something that allows an order while it is on: where it is turned off and on."""

    off: str
    on: str
    operator: str
    code: str
    department: str


class Flip(NamedTuple):
    """Off from when the call returned until the call to turn it on was sent; seconds on one clock."""

    returned: float
    resumed: float


class Seen(NamedTuple):
    """One check: when it was sent, when it was answered, what was said."""

    sent: float
    answered: float
    decision: str


class Hospital:
    """What the tests ask of it, by role. One for each thread; leaving its `with` block closes its connections."""

    def __init__(self, keys: dict[str, str]) -> None:
        self._keys = keys
        self._client = httpx.Client(timeout=GIVE_UP_SECONDS)

    def __enter__(self) -> Hospital:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def ask(self, method: str, worker: Worker, path: str, role: str, body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._keys[role]}"}
        return self._client.request(method, worker.url + path, json=body, headers=headers)

    def turn(self, worker: Worker, path: str) -> None:
        response = self.ask("POST", worker, path, "medical_affairs", BECAUSE)
        assert response.status_code == 200, response.text

    def decision(self, worker: Worker, switch: Switch) -> str:
        number = next(_numbers)
        order = ORDER | {"request_id": f"R{number}", "case_id": f"C{number}", "requester": switch.operator, "department": switch.department}
        order["procedures"] = [{"code": switch.code, "operator": switch.operator}]
        order["evidence"] = {"special_approval": "示例-1"}
        response = self.ask("POST", worker, "/v1/check", "his", order)
        assert response.status_code == 200, response.text
        return str(response.json()["decision"])

    def grant_switch(self, worker: Worker, staff: str, code: str, department: str) -> Switch:
        (grant,) = self.ask("GET", worker, f"/v1/grants?staff={staff}&scope={code}", "medical_affairs").json()["items"]
        path = f"/v1/grants/{grant['id']}"
        return Switch(f"{path}/suspend", f"{path}/resume", staff, code, department)


@pytest.fixture
def hospital(keys: dict[str, str]) -> Iterator[Hospital]:
    with Hospital(keys) as made:
        yield made


@pytest.fixture
def workers(store_template: Path, tmp_path: Path) -> Iterator[Sequence[Worker]]:
    store = tmp_path / "surgate.db"
    shutil.copyfile(store_template, store)
    with Worker(store, tmp_path / "one.log") as one, Worker(store, tmp_path / "two.log") as two:
        one.wait_until_ready()
        two.wait_until_ready()
        yield one, two


def test_no_check_that_starts_after_a_suspend_returned_is_allowed(
    workers: Sequence[Worker], hospital: Hospital, keys: dict[str, str]
) -> None:
    switches = [
        hospital.grant_switch(workers[0], "100302", "35.71001", "胸心外科"),
        Switch("/v1/staff/100007/suspend", "/v1/staff/100007/resume", "100007", "38.45008", "胸心外科"),
        Switch("/v1/technologies/G09/stop", "/v1/technologies/G09/resume", "100002", "37.6600x001", "小儿外科"),
    ]
    for worker, switch in itertools.product(workers, switches):
        assert hospital.decision(worker, switch) == "allow", switch
    enough, stop = threading.Event(), threading.Event()
    seed = random.randrange(2**32)
    seen: dict[Switch, list[Seen]] = {switch: [] for switch in switches}
    with ThreadPoolExecutor(len(switches) + CHECKING_THREADS) as pool:
        checking = [pool.submit(_check_until, stop, workers, seen, keys, seed + n) for n in range(CHECKING_THREADS)]
        flipping = [
            pool.submit(_flip_until, enough, stop, workers, switch, seen[switch], keys, seed + n) for n, switch in enumerate(switches)
        ]
        for future in checking:
            future.add_done_callback(lambda _: stop.set())  # one that failed must not leave the others waiting for its checks
        enough.wait(FLIPPED_FOR_SECONDS)
        enough.set()
        wait(flipping)
        stop.set()
        flips = [future.result() for future in flipping]
        for future in checking:
            future.result()
    for switch, offs in zip(switches, flips, strict=True):
        judged = 0
        for flip in offs:
            within = [check for check in seen[switch] if flip.returned <= check.sent and check.answered <= flip.resumed]
            assert all(check.decision == "deny" for check in within), (seed, switch, flip, within)
            judged += len(within)
        assert judged, f"no check of {switch.off} fell between a suspend and its end: the test saw nothing"


def test_a_frozen_worker_holds_a_suspend_up_for_its_lease_and_allows_nothing_when_it_thaws(
    workers: Sequence[Worker], hospital: Hospital, keys: dict[str, str]
) -> None:
    running, sleeping = workers
    switch = hospital.grant_switch(running, "100302", "35.71001", "胸心外科")
    assert hospital.decision(sleeping, switch) == "allow"
    with ThreadPoolExecutor(1) as pool, Hospital(keys) as waiting:
        for _ in range(FROZEN_ROUNDS):
            time.sleep(random.uniform(0, 0.3))
            with sleeping.frozen():
                hospital.turn(running, switch.off)
                # It starts now, after the suspend has returned, and waits in the frozen worker's socket.
                asked = pool.submit(waiting.decision, sleeping, switch)
                time.sleep(random.uniform(0.05, 0.2))
            assert asked.result() == "deny"
            assert hospital.decision(running, switch) == "deny"
            hospital.turn(running, switch.on)
            assert hospital.decision(sleeping, switch) == "allow"


def _flip_until(
    enough: threading.Event,
    stop: threading.Event,
    workers: Sequence[Worker],
    switch: Switch,
    seen: Sequence[Seen],
    keys: dict[str, str],
    seed: int,
) -> list[Flip]:
    """Off and on by turns. Each time it stays off until a check was sent and answered meanwhile, however slow the machine is."""
    chance = random.Random(seed)
    flips: list[Flip] = []
    with Hospital(keys) as hospital:
        while not stop.is_set() and not (enough.is_set() and flips):
            before = len(seen)
            hospital.turn(chance.choice(workers), switch.off)
            returned = time.monotonic()
            time.sleep(chance.uniform(0, 0.2))
            while not stop.is_set() and not any(check.sent >= returned for check in seen[before:]):
                time.sleep(0.005)
            flips.append(Flip(returned, time.monotonic()))
            hospital.turn(chance.choice(workers), switch.on)
            time.sleep(chance.uniform(0, 0.2))
    return flips


def _check_until(stop: threading.Event, workers: Sequence[Worker], seen: dict[Switch, list[Seen]], keys: dict[str, str], seed: int) -> None:
    chance, switches = random.Random(seed), list(seen)
    with Hospital(keys) as hospital:
        while not stop.is_set():
            switch, sent = chance.choice(switches), time.monotonic()
            decision = hospital.decision(chance.choice(workers), switch)
            seen[switch].append(Seen(sent, time.monotonic(), decision))

"""Grants are suspended and resumed all the time on one node and checked on every worker of all, while Redis and workers are killed: no check that
started after a suspension returned is allowed. `make soak` runs it for long; a short run is a test.

What is counted goes to standard output and, as one line of JSON, to the file that is named.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.fleet import Fleet, fleet, prepare
from tests.served import Reply, Served, call

ORDER: dict[str, Any] = json.loads((Path(__file__).parents[1] / "docs" / "example-order.json").read_text(encoding="utf-8"))
PACKS = Path(__file__).parents[1] / "packs"
BECAUSE = {"reason": "并发症率复核", "by": "900001"}
CHECKERS_PER_NODE = 3
CHECKS_PER_CONNECTION = 50
"""After that many a new connection, which may come to another worker."""

FAULT_SECONDS = (2.0, 6.0)
TELL_SECONDS = 60.0

_numbers = itertools.count()


class Turn(NamedTuple):
    """A call that turns something off or on. `again`: one that was done already is refused with 409, when it is in force; otherwise 409 says that it
    was not done, and the same once more is answered 200."""

    path: str
    body: bytes = json.dumps(BECAUSE).encode()
    content_type: str = "application/json"
    again: bool = True


class Switch(NamedTuple):
    """Something that allows an order while it is on: how it is turned off and on."""

    off: Turn
    on: Turn
    operator: str
    code: str
    department: str


class Phase(NamedTuple):
    """What holds for a switch since the call that made it so has returned; None while a call is under way."""

    number: int
    allowed: bool | None


@dataclass
class Counts:
    """What was seen. `judged`: checks that began and ended within one phase, so that only one answer is right. A violation is one that was allowed
    while off; a wrong denial one that was denied while on. Seconds of the slowest revoke (the slowest import) are its caller's, from the first call to
    the answer, calls that found their worker dead included."""

    seconds: float = 0.0
    checks: int = 0
    judged: int = 0
    revokes: int = 0
    violations: int = 0
    wrong_denials: int = 0
    unanswered: int = 0
    refused: int = 0
    redis_killed: int = 0
    workers_killed: int = 0
    slowest_revoke: float = 0.0
    slowest_import: float = 0.0
    first_violation: dict[str, Any] = field(default_factory=dict)


class Soak:
    """One run on a deployment."""

    def __init__(self, deployment: Fleet, switches: Sequence[Switch], seed: int) -> None:
        self._deployment = deployment
        self._phases = dict.fromkeys(switches, Phase(0, None))
        self._seen: dict[Switch, set[tuple[int, int]]] = {switch: set() for switch in switches}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._seed = seed
        self.counts = Counts()

    def run(self, enough: Callable[[Counts], bool], *, faults: bool) -> Counts:
        """Go on until it is enough, then stop everything. Raises what a thread raised."""
        began = told = time.monotonic()
        nodes = len(self._deployment.nodes)
        with ThreadPoolExecutor(len(self._phases) + nodes * CHECKERS_PER_NODE + 1) as pool:
            running: list[Future[None]] = [pool.submit(self._flip, switch, n) for n, switch in enumerate(self._phases)]
            running += [pool.submit(self._check, n % nodes, 1000 + n) for n in range(nodes * CHECKERS_PER_NODE)]
            running += [pool.submit(self._break)] if faults else []
            try:
                while not enough(self.counts) and not any(one.done() for one in running):
                    time.sleep(0.1)
                    self.counts.seconds = round(time.monotonic() - began, 1)
                    if time.monotonic() - told > TELL_SECONDS:
                        told = time.monotonic()
                        print(self.counts, flush=True)
            finally:
                self._stop.set()
            for one in running:
                one.result()
        return self.counts

    def _flip(self, switch: Switch, number: int) -> None:
        chance = random.Random(self._seed + number)
        for phase in itertools.count(1):
            if self._stop.is_set():
                return
            off = phase % 2 == 1
            self._phases[switch] = Phase(phase, None)
            node = chance.choice(self._deployment.nodes).gateway
            began = time.monotonic()
            if not self._turn(node, switch.off if off else switch.on):
                return
            self._phases[switch] = Phase(phase, not off)
            if off:
                with self._lock:
                    self.counts.revokes += 1
                    what = "slowest_revoke" if switch.off.again else "slowest_import"
                    setattr(self.counts, what, max(getattr(self.counts, what), round(time.monotonic() - began, 3)))
            self._wait_for_checks(switch, phase)
            time.sleep(chance.uniform(0, 0.1))

    def _wait_for_checks(self, switch: Switch, phase: int) -> None:
        """Each phase lasts until on each node a check began and ended within it, however slow the machine is: otherwise nothing would be seen."""
        asked_for = {(phase, node) for node in range(len(self._deployment.nodes))}
        while not self._stop.is_set() and not asked_for <= self._seen[switch]:
            time.sleep(0.005)
        self._seen[switch] = set()

    def _turn(self, node: Served, turn: Turn) -> bool:
        """Whether it was done. A call that found its worker dead is asked again; then it may have been done already."""
        while not self._stop.is_set():
            try:
                reply = node.call("POST", turn.path, self._deployment.keys["medical_affairs"], turn.body, content_type=turn.content_type)
            except (OSError, http.client.HTTPException):
                continue
            if reply.status == 200 or (reply.status == 409 and turn.again):
                return True
            assert reply.status in (409, 503), reply.body
            time.sleep(0.05)
        return False

    def _check(self, node: int, number: int) -> None:
        chance, connection = random.Random(self._seed + number), None
        gateway = self._deployment.nodes[node].gateway
        for sent in itertools.count():
            if self._stop.is_set():
                break
            if connection is None or sent % CHECKS_PER_CONNECTION == 0:
                _close(connection)
                connection = gateway.connect()
            switch = chance.choice(list(self._phases))
            before = self._phases[switch]
            reply: Reply | None
            try:
                reply = call(connection, "POST", "/v1/check", self._deployment.keys["his"], _order(switch))
            except (OSError, http.client.HTTPException):
                _close(connection)
                reply, connection = None, None
            self._judge(node, switch, before, self._phases[switch], reply)
        _close(connection)

    def _judge(self, node: int, switch: Switch, before: Phase, after: Phase, reply: Reply | None) -> None:
        with self._lock:
            counts = self.counts
            counts.checks += 1
            if reply is None:
                counts.unanswered += 1
            elif reply.status != 200:
                assert reply.status == 503, reply.body
                counts.refused += 1
            elif before == after and before.allowed is not None:
                counts.judged += 1
                self._seen[switch].add((before.number, node))
                allowed = reply.json["decision"] == "allow"
                if allowed and not before.allowed:
                    counts.violations += 1
                    counts.first_violation = counts.first_violation or {"switch": switch.off.path, "answer": reply.json}
                counts.wrong_denials += not allowed and before.allowed

    def _break(self) -> None:
        chance = random.Random(self._seed)
        while not self._stop.wait(chance.uniform(*FAULT_SECONDS)):
            if chance.random() < 0.5:
                self._deployment.cache.kill()
                self._stop.wait(chance.uniform(0, 2))
                self._deployment.cache.start()
                self.counts.redis_killed += 1
            else:
                workers = chance.choice(self._deployment.nodes).gateway.workers()
                if workers:
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    self.counts.workers_killed += 1


def switches_of(deployment: Fleet) -> list[Switch]:
    """A grant, a person, a technology and an entry of the catalog of the demo hospital that can be turned off and on; after the last one, which is an
    import, workers read all of the hospital again."""
    gateway, key = deployment.nodes[0].gateway, deployment.keys["medical_affairs"]
    (grant,) = gateway.call("GET", "/v1/grants?staff=100302&scope=35.71001", key).json["items"]
    return [
        Switch(Turn(f"/v1/grants/{grant['id']}/suspend"), Turn(f"/v1/grants/{grant['id']}/resume"), "100302", "35.71001", "胸心外科"),
        Switch(Turn("/v1/staff/100007/suspend"), Turn("/v1/staff/100007/resume"), "100007", "38.45008", "胸心外科"),
        Switch(Turn("/v1/technologies/G09/stop"), Turn("/v1/technologies/G09/resume"), "100002", "37.6600x001", "小儿外科"),
        Switch(_catalog_without("35.42002"), _catalog_without(), "100302", "35.42002", "胸心外科"),
    ]


def _catalog_without(*codes: str) -> Turn:
    rows = (PACKS / "wahh" / "catalog.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(row for row in rows if row.partition(",")[0] not in codes)
    return Turn(f"/v1/imports/catalog?mode=replace&confirm=true&by={BECAUSE['by']}", kept.encode(), "text/csv", again=False)


def _close(connection: http.client.HTTPConnection | None) -> None:
    if connection is not None:
        connection.close()


def _order(switch: Switch) -> dict[str, Any]:
    number = next(_numbers)
    return ORDER | {
        "request_id": f"S{number}",
        "case_id": f"S{number}",
        "requester": switch.operator,
        "department": switch.department,
        "procedures": [{"code": switch.code, "operator": switch.operator}],
        "evidence": {"special_approval": "示例-1"},
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--out", type=Path, help="a file that a line of JSON is added to")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="surgate-soak-") as folder:
        prepared = prepare(Path(folder) / "prepared")
        with fleet(Path(folder), prepared, nodes=asked.nodes, workers=asked.workers) as deployment:
            soak = Soak(deployment, switches_of(deployment), asked.seed)
            counts = soak.run(lambda counts: counts.seconds >= asked.seconds, faults=True)
    line = json.dumps({"nodes": asked.nodes, "workers": asked.workers, "seed": asked.seed} | asdict(counts), ensure_ascii=False)
    print(line)
    if asked.out is not None:
        with asked.out.open("a", encoding="utf-8") as out:
            out.write(line + "\n")
    sys.exit(1 if counts.violations or counts.wrong_denials else 0)


if __name__ == "__main__":
    main()

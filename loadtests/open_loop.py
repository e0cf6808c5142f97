"""An open loop: requests are sent when they are due, whether those before them were answered or not, as independent hospitals send them. What a client
waits is counted from the moment when its request was due, so that a server that stalls does not stop the clock.

`python -m loadtests.open_loop` reads a `Plan` (JSON) from standard input and writes to standard output the instant from which on it counts, and in the end
what it `Ran`: a process of its own, so that
nobody else's work holds its requests up. On SIGTERM it sends no more and waits for what is under way.
"""

from __future__ import annotations

import gc
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from loadtests.wire import MARK, id_of

RECEIVE_BYTES = 65_536
GIVE_UP_SECONDS = 30.0
"""How long is waited for answers after the last request."""

LEAD_SECONDS = 0.2
"""From the first connection to the first request."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Plan(msgspec.Struct, frozen=True):
    """What is sent: to where, which bodies (a file, see `loadtests.wire`), how many a second and for how long. What is due in the first `warm_seconds`
    does not count. `tag`: of the ids; `connections` are kept alive."""

    port: int
    path: str
    authorization: str
    bodies: str
    tag: str
    rate: float
    seconds: float
    warm_seconds: float = 0.0
    connections: int = 64


class Ran(msgspec.Struct):
    """What was seen. `due`: instants (`time.monotonic`) of the requests that were answered 200, `latency`: from then to the answer, in seconds; `late`: by how
    much the generator itself missed each instant; `refused`: other answers by status; `lost`: connections that ended instead, or no answer."""

    due: list[float] = []
    latency: list[float] = []
    late: list[float] = []
    refused: dict[int, int] = {}
    lost: int = 0

    def between(self, begin: float, end: float) -> list[float]:
        """The latencies of what was due between two instants, in order of size."""
        return sorted(latency for due, latency in zip(self.due, self.latency, strict=True) if begin <= due < end)

    @property
    def failed(self) -> int:
        """Requests that were not answered 200."""
        return self.lost + sum(self.refused.values())


def due_times(rate: float, seconds: float, seed: int = 1) -> list[float]:
    """When requests are due, in seconds from the start: as they come from many who know nothing of each other (Poisson), `rate` a second on the average.
    The same each time."""
    chance, at, made = Random(seed), 0.0, []
    while (at := at + chance.expovariate(rate)) < seconds:
        made.append(at)
    return made


def take_answer(received: bytearray) -> int | None:
    """The status of an answer, which is taken out of what was received; None where it has not come whole."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    found = _LENGTH.search(received, 0, end + 2)
    if found is None:
        raise ValueError(f"an answer without a length: {bytes(received[:end])!r}")
    whole = end + 4 + int(found[1])
    if len(received) < whole:
        return None
    status = int(received[9:12])
    del received[:whole]
    return status


class _Connection:
    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = self._open()
        self.received = bytearray()
        self.due = 0.0

    def fileno(self) -> int:
        return self.socket.fileno()

    def open_again(self) -> None:
        self.socket.close()
        self.socket = self._open()
        self.received.clear()

    def _open(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


class _Generator:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._pieces = [_request(plan, body).split(MARK) for body in Path(plan.bodies).read_bytes().splitlines()]
        self._idle = deque(_Connection(plan.port) for _ in range(plan.connections))
        self._busy: set[_Connection] = set()
        self._due = due_times(plan.rate, plan.seconds)
        self._refused: Counter[int] = Counter()
        self._ran = Ran()

    def stop(self, *_: object) -> None:
        """Nothing more is due."""
        self._due = []

    def run(self) -> Ran:
        start = time.monotonic() + LEAD_SECONDS
        self._counts_from = start + self._plan.warm_seconds
        print(self._counts_from, flush=True)
        noticed = sent = 0
        waiting: deque[float] = deque()
        last = start
        while noticed < len(self._due) or waiting or self._busy:
            now = time.monotonic()
            while noticed < len(self._due) and start + self._due[noticed] <= now:
                last = start + self._due[noticed]
                waiting.append(last)
                if last >= self._counts_from:
                    self._ran.late.append(now - last)
                noticed += 1
            while waiting and self._idle:
                self._send(self._idle.popleft(), waiting.popleft(), sent)
                sent += 1
            if noticed >= len(self._due) and now > last + GIVE_UP_SECONDS:
                self._ran.lost += len(waiting) + len(self._busy)
                break
            until = start + self._due[noticed] - time.monotonic() if noticed < len(self._due) else 0.1
            for connection in select.select(self._busy, (), (), max(0.0, until))[0]:
                self._receive(connection)
        self._ran.refused = dict(self._refused)
        return self._ran

    def _send(self, connection: _Connection, due: float, number: int) -> None:
        request = id_of(self._plan.tag, number).join(self._pieces[number % len(self._pieces)])
        connection.due = due
        try:
            connection.socket.sendall(request)
        except OSError:
            self._lost(connection)
        else:
            self._busy.add(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            piece = connection.socket.recv(RECEIVE_BYTES)
        except OSError:
            piece = b""
        if not piece:
            self._busy.remove(connection)
            self._lost(connection)
            return
        connection.received += piece
        status = take_answer(connection.received)
        if status is None:
            return
        self._busy.remove(connection)
        self._idle.append(connection)
        if connection.due >= self._counts_from:
            self._answered(connection.due, status)

    def _answered(self, due: float, status: int) -> None:
        if status == 200:
            self._ran.due.append(due)
            self._ran.latency.append(time.monotonic() - due)
        else:
            self._refused[status] += 1

    def _lost(self, connection: _Connection) -> None:
        self._ran.lost += 1
        connection.open_again()
        self._idle.append(connection)


def _request(plan: Plan, body: bytes) -> bytes:
    head = (
        f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1:{plan.port}\r\nAuthorization: {plan.authorization}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Load:
    """A generator in a process of its own, from its making on. `within`: a program that starts it."""

    def __init__(self, plan: Plan, within: list[str]) -> None:
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [*within, sys.executable, "-m", "loadtests.open_loop"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(plan))
        self._process.stdin.close()
        self._process.stdin = None

    def wait_until_warm(self) -> float:
        """Wait until what is sent counts; that instant (`time.monotonic`)."""
        assert self._process.stdout is not None
        instant = float(self._process.stdout.readline())
        time.sleep(max(0.0, instant - time.monotonic()))
        return instant

    def end(self) -> Ran:
        """Let it send no more; what it ran."""
        self._process.send_signal(signal.SIGTERM)
        return self.result()

    def result(self) -> Ran:
        """What it ran, when it has come to its end."""
        written, _ = self._process.communicate()
        if self._process.returncode:
            raise subprocess.CalledProcessError(self._process.returncode, self._process.args)
        return msgspec.json.decode(written.splitlines()[-1], type=Ran)

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """Run the plan on standard input."""
    generator = _Generator(msgspec.json.decode(sys.stdin.buffer.read(), type=Plan))
    signal.signal(signal.SIGTERM, generator.stop)
    gc.collect()
    gc.disable()  # nothing here makes cycles, and a collection would make requests late
    sys.stdout.buffer.write(msgspec.json.encode(generator.run()))


if __name__ == "__main__":
    main()

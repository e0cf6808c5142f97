"""The generator of an open loop: when requests are due, how answers are taken apart, what is counted. Nothing here looks at a time."""

from __future__ import annotations

import http.server
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.open_loop import Load, Plan, Ran, due_times, take_answer
from loadtests.wire import MARK, write_bodies


def test_requests_are_due_at_their_rate_and_at_the_same_instants_each_time() -> None:
    due = due_times(rate=1_000, seconds=20)
    assert due == due_times(rate=1_000, seconds=20) == sorted(due)
    assert len(due) == pytest.approx(20_000, rel=0.02)
    assert due[-1] < 20
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    # Independent of each other: as many gaps are longer than the mean as is the share 1/e.
    assert sum(gap > 0.001 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.02)


def test_an_answer_is_taken_when_it_has_come_whole() -> None:
    answer = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nbusy"
    for cut in range(len(answer)):
        assert take_answer(bytearray(answer[:cut])) is None
    received = bytearray(answer + b"HTTP/1.1 200")
    assert take_answer(received) == 503
    assert received == b"HTTP/1.1 200"


def test_an_answer_without_a_length_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="without a length"):
        take_answer(bytearray(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))


def test_latencies_of_a_window() -> None:
    ran = Ran(due=[1.0, 2.0, 3.0, 4.0], latency=[0.4, 0.3, 0.2, 0.1], refused={503: 2, 429: 1}, lost=1)
    assert ran.between(2.0, 4.0) == [0.2, 0.3]
    assert ran.failed == 4


class _Server(http.server.BaseHTTPRequestHandler):
    """Refuses each fifth request and hangs up on each seventh; keeps the bodies."""

    protocol_version = "HTTP/1.1"
    bodies: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(body)
        number = int(body[-12:-2])
        if number % 7 == 6:
            self.close_connection = True
            return
        self.send_response(503 if number % 5 == 4 else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: Any) -> None:
        """Nothing is logged."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    _Server.bodies = []
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_everything_that_was_due_is_sent_once_and_counted(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    bodies = write_bodies(tmp_path / "bodies", [b'{"a": "' + MARK + b'"}', b'{"bb": "' + MARK + b'"}'])
    plan = Plan(server.server_port, "/v1/check", "Bearer x", str(bodies), "abcdef", rate=200, seconds=0.5, connections=8)
    with Load(plan, []) as load:
        ran = load.result()
    due = len(due_times(200, 0.5))
    assert sorted(_Server.bodies) == sorted(b'{"%s": "abcdef%010d"}' % (b"bb" if number % 2 else b"a", number) for number in range(due))
    lost = sum(number % 7 == 6 for number in range(due))
    refused = sum(number % 5 == 4 and number % 7 != 6 for number in range(due))
    assert (ran.lost, ran.refused, len(ran.latency)) == (lost, {503: refused}, due - lost - refused)
    assert len(ran.late) == due


def test_a_load_that_is_ended_says_what_it_ran(server: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    bodies = write_bodies(tmp_path / "bodies", [b'{"a": "' + MARK + b'"}'])
    plan = Plan(server.server_port, "/v1/check", "Bearer x", str(bodies), "abcdef", rate=50, seconds=3_600, connections=2)
    with Load(plan, []) as load:
        load.wait_until_warm()
        ran = load.end()
    assert len(ran.latency) + ran.failed == len(ran.late) == len(_Server.bodies)

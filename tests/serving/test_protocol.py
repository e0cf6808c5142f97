"""Connections of slow, half-open and non-reading clients, on real sockets at a real service."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from app.telemetry.exposition import render
from app.telemetry.memory import Memory
from tests.embedded import keys_fixture
from tests.notify.receiver import until_in_this_thread
from tests.served import CALL_SECONDS, Served, an_order, call, served
from tests.service.conftest import template

__all__ = ["keys_fixture", "template"]

SOON = "0.3"
LONG = "600"
CONNECTIONS = 4
REQUESTS_UNREAD = 20
"""Of more than a megabyte each: the system keeps some of them for a client that does not read."""


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slow")


@pytest.fixture(scope="module")
def hasty(var: Path, template: Any) -> Iterator[Served]:
    """A service with little patience."""
    with served(var / "hasty", template.path, head_seconds=SOON, body_seconds=SOON, send_seconds=SOON) as made:
        yield made


@pytest.fixture(scope="module")
def patient(var: Path, template: Any) -> Iterator[Served]:
    """A service that cuts nobody for being slow, with room for few connections."""
    times = {"head_seconds": LONG, "body_seconds": LONG, "send_seconds": LONG}
    with served(var / "patient", template.path, max_connections=str(CONNECTIONS), **times) as made:
        yield made


def opened(service: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=CALL_SECONDS)


def until_closed(connection: socket.socket) -> bytes:
    """All that comes before the other side closes."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def head_of(order: bytes, key: str, length: int) -> bytes:
    return (
        f"POST /v1/check HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode() + order


def problem_in(answer: bytes, status: int) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/problem+json" in lines
    assert b"connection: close" in lines
    assert f"content-length: {len(body)}".encode() in lines
    found: dict[str, Any] = json.loads(body)
    assert found["status"] == status
    assert " / " in found["title"]
    return found


def told(service: Served, begun: bytes) -> bytes:
    """What the service says to who sends that and no more. Where this process was held up before it could send, it is tried again."""
    while True:
        with closing(opened(service)) as connection:
            try:
                connection.sendall(begun)
            except ConnectionError:
                continue
            if answer := until_closed(connection):
                return answer


def cut(service: Served, why: str) -> float:
    """How many connections were cut, read from the folder of counters: a call could be cut itself."""
    text = render(Memory(), service.var / "metrics", "")[0].decode()
    found = [line.split()[-1] for line in text.splitlines() if line.startswith(f'surgate_connections_cut_total{{why="{why}"}}')]
    return float(found[0]) if found else 0.0


def test_who_sends_nothing_is_cut_without_a_word(hasty: Served) -> None:
    with closing(opened(hasty)) as connection:
        assert until_closed(connection) == b""


@pytest.mark.parametrize(
    "begun", [b"G", b"GET /healthz HTTP/1.1\r\nhost: x\r\n", b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 1000]
)
def test_who_does_not_finish_the_head_is_told_and_cut(hasty: Served, begun: bytes) -> None:
    problem_in(told(hasty, begun), 408)


def test_who_sends_the_head_byte_by_byte_is_cut_all_the_same(hasty: Served) -> None:
    with closing(opened(hasty)) as connection:
        answer = _dripping(connection, b"GET /healthz HTTP/1.1\r\nhost: x\r\n", b"x-drip: 1\r\n")
        assert answer == b"" or problem_in(answer, 408)


@pytest.mark.parametrize("path", ["/v1/check", "/v1/explain"])
def test_who_does_not_finish_the_body_is_told_and_cut_and_nothing_is_recorded(hasty: Served, keys: dict[str, str], path: str) -> None:
    before = cut(hasty, "body")
    half = b'{"request_id": "HALF", "checkpoint"'
    problem_in(told(hasty, head_of(half, keys["his"], 500).replace(b"/v1/check", path.encode())), 408)
    assert cut(hasty, "body") > before
    assert hasty.rows("SELECT * FROM decisions WHERE request_id = 'HALF'") == []


def test_who_sends_the_body_byte_by_byte_is_cut_all_the_same(hasty: Served, keys: dict[str, str]) -> None:
    with closing(opened(hasty)) as connection:
        answer = _dripping(connection, head_of(b"", keys["his"], 100_000), b" ")
        assert answer == b"" or problem_in(answer, 408)


def test_a_request_in_pieces_that_come_in_time_is_answered_and_so_are_those_after_it(patient: Served, keys: dict[str, str]) -> None:
    with closing(opened(patient)) as connection:
        for number in range(3):
            whole = head_of(body := json.dumps(an_order(f"PIECES-{number}")).encode(), keys["his"], len(body))
            for begin in range(0, len(whole), 50):
                connection.sendall(whole[begin : begin + 50])
            received = b""
            while b'"evaluated_at"' not in received:
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_between_requests_is_not_cut_by_the_time_of_a_head(hasty: Served) -> None:
    with closing(_idle(hasty)) as connection:
        for _ in range(2):
            with closing(opened(hasty)) as other:
                until_closed(other)  # the time of a head has passed
        assert call(connection, "GET", "/healthz").status == 200


def _idle(service: Served) -> http.client.HTTPConnection:
    """A connection on which one request was answered."""
    while True:
        connection = service.connect()
        try:
            assert call(connection, "GET", "/healthz").status == 200
        except (ConnectionError, http.client.HTTPException):
            connection.close()
            continue
        return connection


def test_what_is_no_http_is_told_so_in_a_problem_document(patient: Served) -> None:
    with closing(opened(patient)) as connection:
        connection.sendall(b"\x16\x03\x01 TLS to a plain port\r\n\r\n")
        problem_in(until_closed(connection), 400)


def test_who_takes_nothing_of_an_answer_is_cut(hasty: Served) -> None:
    before = cut(hasty, "unread")
    with closing(_not_reading(hasty)):
        until_in_this_thread(lambda: cut(hasty, "unread") > before)


def test_beyond_the_bound_a_connection_is_told_to_come_again_and_a_place_that_is_given_back_is_free(patient: Served) -> None:
    with ExitStack() as held:
        connections = [held.enter_context(closing(opened(patient))) for _ in range(CONNECTIONS)]
        for connection in connections:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        with closing(opened(patient)) as further:
            further.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            answer = until_closed(further)
            assert b"\r\nretry-after: 1\r\n" in answer
            problem_in(answer, 503)
        connections[0].sendall(b"host: x\r\nconnection: close\r\n\r\n")
        assert until_closed(connections[0]).startswith(b"HTTP/1.1 200 ")
    until_in_this_thread(lambda: patient.call("GET", "/healthz").status == 200)


def test_who_keeps_connections_for_nothing_gives_way_the_longest_idle_first(var: Path, template: Any) -> None:
    with served(var / "idle", template.path, max_connections=str(CONNECTIONS)) as service, ExitStack() as held:
        kept = [held.enter_context(closing(service.connect())) for _ in range(CONNECTIONS)]
        for connection in kept:
            assert call(connection, "GET", "/healthz").status == 200
        assert call(kept[0], "GET", "/healthz").status == 200  # it was idle for longest
        with closing(service.connect()) as further:
            assert call(further, "GET", "/healthz").status == 200
            sockets = [connection.sock for connection in kept]
            assert sockets[1].recv(1) == b""
            for connection in (kept[0], *kept[2:]):
                assert call(connection, "GET", "/healthz").status == 200


def test_who_reads_nothing_does_not_hold_a_stop(var: Path, template: Any, keys: dict[str, str]) -> None:
    """The stop would wait for ten minutes; the test for less."""
    with served(var / "stopping", template.path, stop_seconds="600", send_seconds=LONG) as service, ExitStack() as held:
        held.enter_context(closing(_not_reading(service)))
        events = held.enter_context(closing(opened(service)))
        events.sendall(f"GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {keys['admin']}\r\n\r\n".encode())
        until_in_this_thread(lambda: 'surgate_event_streams{worker="0"} 1.0' in service.call("GET", "/metrics").body.decode())
        assert service.stop() == 0


def _not_reading(service: Served) -> socket.socket:
    """A connection that asks for more than any buffer holds, and takes the first byte of it alone."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(CALL_SECONDS)
    connection.connect(("127.0.0.1", service.port))
    connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n" * REQUESTS_UNREAD)
    assert connection.recv(1)
    return connection


def _dripping(connection: socket.socket, begin: bytes, drop: bytes) -> bytes:
    """Send a beginning and then a drop now and then, until the other side closes; what it said."""
    connection.sendall(begin)
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.05):
            try:
                connection.sendall(drop)
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        return until_closed(connection)
    finally:
        over.set()
        thread.join()

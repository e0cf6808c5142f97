"""A receiver of notifications on this machine, which behaves as a test tells it to."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

GIVE_UP_SECONDS = 90.0
"""A condition that has not come about by then never will; on a loaded machine it takes as long as it takes."""


class Received(NamedTuple):
    """A request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> int:
        return int(self.headers["surgate-id"])


Behaviour = Callable[[Received], tuple[int, bytes]]


def fine(_received: Received) -> tuple[int, bytes]:
    return 200, b'{"errcode": 0, "errmsg": "ok"}'


class Receiver:
    """`received`: every request; `acknowledged`: those that were answered as `fine` does."""

    def __init__(self) -> None:
        self.behave: Behaviour = fine
        self.received: list[Received] = []
        self.acknowledged: list[Received] = []
        self.let_go = threading.Event()
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = _free_port()

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def hang(self, _received: Received) -> tuple[int, bytes]:
        """A behaviour: no answer until the test lets go."""
        self.let_go.wait(GIVE_UP_SECONDS)
        return 500, b""

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(self)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # the sender has gone

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        self.let_go.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        received = Received(handler.path, {name.lower(): value for name, value in handler.headers.items()}, body)
        with self._lock:
            self.received.append(received)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            behave = self.behave
        status, answer = behave(received)
        with self._lock:
            self.at_once -= 1
            if (status, answer) == fine(received):
                self.acknowledged.append(received)
        handler.send_response(status)
        if 300 <= status < 400:
            handler.send_header("Location", self.url("/elsewhere"))
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)


@contextmanager
def receiving() -> Iterator[Receiver]:
    made = Receiver()
    made.start()
    try:
        yield made
    finally:
        made.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "it does not come about"
        await asyncio.sleep(0.01)


def until_in_this_thread(condition: Callable[[], bool]) -> None:
    asyncio.run(until(condition))


def aim(store: Path, *targets: dict[str, str], open_hours: tuple[int, int] | None = None) -> None:
    """Set the targets of a store's hospital, and when its office is open (minutes after midnight, every day), as its pack would."""
    connection = sqlite3.connect(store)
    (code, text) = connection.execute("SELECT code, settings FROM hospitals").fetchone()
    settings = json.loads(text) | {"notify": list(targets)}
    if open_hours is not None:
        settings["office_hours"] = {"days": [1, 2, 3, 4, 5, 6, 7], "opens": open_hours[0], "closes": open_hours[1], "holidays": []}
    connection.execute("UPDATE hospitals SET settings = ? WHERE code = ?", (json.dumps(settings).encode(), code))
    connection.commit()
    connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

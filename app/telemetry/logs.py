"""Structured logs: one JSON object per line on the standard error, with the request's id, without any patient identifier.

Of an exception the type and the place are told, never its text: the text of a driver's or a decoder's error can quote an order.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

FLUSH_SECONDS = 0.1
"""How long a line of the access log may wait, so that many are written at once."""

MAX_WAITING_LINES = 2000

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message", "taskName"}
_encode = msgspec.json.Encoder(enc_hook=str).encode


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON."""

    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"at": _instant(), "level": record.levelname, "event": record.getMessage(), "logger": record.name}
        if self._worker is not None:
            line["worker"] = self._worker
        current = request_id.get()
        if current is not None:
            line["request_id"] = current
        line |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        if record.exc_info is not None and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["where"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(record.exc_info[2])]
        return _encode(line).decode()


def configure(level: str, worker: int | None = None) -> None:
    """Send this process's logs to the standard error as JSON lines. `worker`: the slot of a worker, None for the supervisor."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(worker))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("aiosqlite", "asyncio", "alembic", "httpx", "httpcore"):  # httpx tells every URL, which may hold a robot's key
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _to_standard_error(lines: bytes) -> None:
    sys.stderr.buffer.write(lines)
    sys.stderr.buffer.flush()


class _Request(msgspec.Struct, frozen=True):
    """A line of the access log."""

    at: str
    request_id: str
    method: str
    route: str
    status: int
    ms: float
    key: str | None
    worker: int
    event: str = "request"
    level: str = "INFO"


class AccessLog:
    """One line per request, written in groups by the event loop that it is used in."""

    def __init__(self, worker: int = 0, write: Callable[[bytes], None] = _to_standard_error) -> None:
        self._worker = worker
        self._write = write
        self._lines: list[bytes] = []

    def add(self, id_: str, method: str, route: str, status: int, seconds: float, key: str | None) -> None:
        """A request was answered. `route`: its template, since a path can hold an id."""
        self._lines.append(_encode(_Request(_instant(), id_, method, route, status, round(seconds * 1000, 3), key, self._worker)))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)
        elif len(self._lines) >= MAX_WAITING_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._lines:
            lines, self._lines = self._lines, []
            self._write(b"\n".join(lines) + b"\n")


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _instant() -> str:
    now = time.time()
    second = int(now)
    return f"{_second(second)}.{int((now - second) * 1000):03d}Z"

"""The outermost layer of the application: a request id in and out, one log line and one count per request, and what a defect answers."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable

from uuid_utils import uuid7

from app.api.bodies import Message, Receive
from app.api.check import KEY, Scope, Send
from app.api.check import PATH as CHECK_PATH
from app.api.problems import MEDIA_TYPE, internal_error
from app.events.stream import MEDIA_TYPE as STREAM
from app.telemetry.logs import AccessLog, request_id
from app.telemetry.meters import Meters

CLIENT_LEFT = 499
"""What is logged where the client left before it was answered."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_log = logging.getLogger("surgate.http")

Inner = Callable[[Scope, Receive, Send], Awaitable[None]]


class Edge:
    """Wraps the application of one worker."""

    def __init__(self, inner: Inner, meters: Meters, access_log: AccessLog | None) -> None:
        self._inner = inner
        self._meters = meters
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        began = time.perf_counter()
        # HEAD is a GET whose answer's body is left out: the server does that, by the scope that it gave.
        seen: Scope = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        answer = _Answer(send, _id_of(scope), lambda: self._ended(scope["method"], seen, answer, began))
        request_id.set(answer.id)
        self._meters.in_flight.add(1)
        try:
            await self._inner(seen, receive, answer.send)
        except Exception:  # noqa: BLE001 — whatever it is, the caller gets an answer and the log the place
            _log.exception("a defect")
            await answer.defect()
        finally:
            if not answer.is_stream:
                self._ended(scope["method"], seen, answer, began)

    def _ended(self, sent: str, scope: Scope, answer: _Answer, began: float) -> None:
        """A request was answered. A stream counts as answered when it begins: its hours are no time that anybody waited."""
        seconds = time.perf_counter() - began
        self._meters.in_flight.add(-1)
        method = sent if sent in _METHODS else "OTHER"
        route = _route_of(scope)
        self._meters.request(method, route, answer.status, seconds)
        if self._access_log is not None:
            self._access_log.add(answer.id, method, route, answer.status, seconds, scope.get(KEY))


class _Answer:
    """What is sent back, with the request's id added."""

    __slots__ = ("_begun", "_send", "id", "is_stream", "status")

    def __init__(self, send: Send, id_: str, begun: Callable[[], None]) -> None:
        """`begun` is called when a stream begins."""
        self._send = send
        self._begun = begun
        self.id = id_
        self.status = CLIENT_LEFT
        self.is_stream = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.id.encode())]
            if (b"content-type", STREAM.encode()) in message["headers"]:
                self.is_stream = True
                self._begun()
        await self._send(message)

    async def defect(self) -> None:
        """Tell of a defect, unless an answer has begun already."""
        if self.status == CLIENT_LEFT:
            problem = internal_error(self.id)
            headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(problem.body)).encode())]
            await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
            await self.send({"type": "http.response.body", "body": problem.body})


def _id_of(scope: Scope) -> str:
    """The caller's own id, where it is one that a log line can carry; one of ours otherwise."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return str(uuid7())


def _route_of(scope: Scope) -> str:
    """The route's template: a path can hold an id."""
    if scope["path"] == CHECK_PATH:
        return CHECK_PATH
    return getattr(scope.get("route"), "path", "other")

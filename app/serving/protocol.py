"""HTTP connections that cannot be held for nothing: a time for the head of a request, for its body, and for taking the answer; a bound of how
many there are. Built on uvicorn's protocol, which has a time for idle connections alone.

A client that sends a byte now and then, or takes none of its answer, costs a connection and what waits for it; some hundred of those are all that
a worker's files allow. Who only waits for us is never cut: while we do not read, the time does not end.
"""

from __future__ import annotations

import resource
from asyncio import BaseTransport, TimerHandle
from typing import Any, ClassVar, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.api.bodies import Receive
from app.api.check import Scope, Send
from app.api.problems import MEDIA_TYPE, Problem, problem_of, problem_with
from app.errors import Overloaded
from app.settings import Settings
from app.telemetry.meters import Meters

MIN_BYTES_PER_SECOND = 16 * 1024
"""A body that comes at least as fast as that is let come for as long as it takes."""

FINISH_SECONDS = 1.0
"""How long a connection that is to be closed may take to be emptied without that anything is taken from it."""

READ_FIRST_SECONDS = 0.01

REFUSED_AT_ONCE = 100
"""Connections beyond the bound that are told so; further ones are closed without a word."""

FILES_KEPT = 100
"""Open files that a worker needs for all but connections: the store, logs, seals, what is sent to notify."""


class Limits(NamedTuple):
    """What a connection may take, in seconds: for the head of a request, its body (and what its size allows, see `MIN_BYTES_PER_SECOND`), and
    without that the client takes anything of its answer; and how many connections a worker has."""

    head_seconds: float
    body_seconds: float
    send_seconds: float
    connections: int


def limits_of(settings: Settings) -> Limits:
    """The limits of a worker. It may open as many files as the system lets it, and never runs out of them by connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    room = settings.max_connections
    if most != resource.RLIM_INFINITY:
        room = max(1, min(room, most - FILES_KEPT - REFUSED_AT_ONCE))
    return Limits(settings.head_seconds, settings.body_seconds, settings.send_seconds, room)


class Connection(HttpToolsProtocol):
    """One connection. What is received has one timer: requests on a connection come one after the other. It is set after the parser has had
    all that came, so that a request which comes whole costs none."""

    limits: ClassVar[Limits]
    meters: ClassVar[Meters]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._timer: TimerHandle | None = None
        self._timed = 0
        self._part = 1
        """Counts heads and bodies; 1 is what comes before the first head. `_timed`: that of the timer; 0: none."""
        self._in_head = False
        self._in_body = False
        self._body_began = 0.0
        self._body_bytes = 0
        self._untaken: TimerHandle | None = None
        self._ending: TimerHandle | None = None
        self._taken = 0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        beyond = len(self.connections) - self.limits.connections
        if beyond > 0 and not self._make_room():
            self.meters.connection_cut("full")
            self.app = _refuse
            if beyond > REFUSED_AT_ONCE:
                self.transport.abort()
                return
        self._wait(self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._untaken, self._ending):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        part = self._part if self._in_head or self._in_body else 0
        # What begins no request, such as an empty line, has ended the time of an idle connection all the same.
        if not part and self.timeout_keep_alive_task is None and not self._is_answering():
            part = self._part
        if part != self._timed:
            self._wait((self.limits.body_seconds if self._in_body else self.limits.head_seconds) if part else None)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._part += 1
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._part += 1
        self._in_head, self._in_body = False, True
        self._body_began, self._body_bytes = self.loop.time(), 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._untaken = self.loop.call_later(self.limits.send_seconds, self._abort, "unread")

    def resume_writing(self) -> None:
        self._taken += 1
        if self._untaken is not None:
            self._untaken.cancel()
        super().resume_writing()

    def shutdown(self) -> None:
        """The worker stops: what is being answered is answered, unless the client takes nothing of it."""
        super().shutdown()
        self._see_end()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._see_end()

    def send_400_response(self, msg: str) -> None:
        self._close_with(problem_with(400, msg))

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest: who keeps many open, of whatever hospital, keeps nobody out. False where none is idle."""
        idle = {
            one.timeout_keep_alive_task.when(): one
            for one in self.connections
            if isinstance(one, Connection) and one.timeout_keep_alive_task is not None and not one.transport.is_closing()
        }
        if not idle:
            return False
        self.meters.connection_cut("idle")
        idle[min(idle)].timeout_keep_alive_handler()
        return True

    def _wait(self, seconds: float | None) -> None:
        """Set the timer anew for what is being received; None: nothing is."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._out_of_time)
        self._timed = 0 if seconds is None else self._part

    def _out_of_time(self) -> None:
        # After a stall timers come before what has arrived meanwhile: that is read first.
        self._timer = self.loop.call_later(READ_FIRST_SECONDS, self._look)

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        now = self.loop.time()
        # Either we do not read, or an earlier request of this connection is still being answered: neither is the client's fault.
        if self.flow.read_paused or (self._is_answering() and not self._in_body):
            self._body_began = now
            self._wait(self.limits.head_seconds)
            return
        left = self._body_began + self.limits.body_seconds + self._body_bytes / MIN_BYTES_PER_SECOND - now
        if self._in_body and left > 0:
            self._wait(left)
        else:
            self._cut()

    def _cut(self) -> None:
        """The request did not come in its time. Who has sent nothing at all is told nothing; an answer that has begun is broken off."""
        self.meters.connection_cut("body" if self._in_body else "head")
        if self._is_answering():
            begun = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            begun = not self._in_head
        if begun:
            self.transport.close()
            self._see_end()
        else:
            self._close_with(problem_with(408, "the request did not come in its time"))

    def _close_with(self, problem: Problem) -> None:
        headers = (
            *self.server_state.default_headers,
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(problem.body)).encode()),
            (b"connection", b"close"),
        )
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + problem.body)
        self.transport.close()
        self._see_end()

    def _see_end(self) -> None:
        """See to it that a connection which is to end does, also where the client takes nothing any more."""
        if self._ending is None:
            self._see_taken(None)

    def _see_taken(self, before: tuple[int, int] | None) -> None:
        left = self._taken, self.transport.get_write_buffer_size()
        if left[1] and left == before:
            self._abort("unread")
            return
        self._ending = self.loop.call_later(FINISH_SECONDS, self._see_taken, left)

    def _abort(self, why: str) -> None:
        self.meters.connection_cut(why)
        self.transport.abort()


def protocol_of(limits: Limits, meters: Meters) -> type[Connection]:
    """The protocol of a worker's connections."""
    return type("WorkerConnection", (Connection,), {"limits": limits, "meters": meters})


async def _refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The application in front of which a connection beyond the bound stands."""
    problem = problem_of(Overloaded("连接过多，请稍后重试 / too many connections: try again later"))
    assert problem is not None
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(problem.body)).encode()),
        (b"connection", b"close"),
        *problem.headers,
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": problem.body})

"""One worker process: `python -m app.serving.worker LISTENER LIFELINE SLOT`, started by the supervisor with two descriptors.

The worker says on the lifeline that it is ready, and stops when the lifeline ends: a worker never outlives its supervisor unnoticed.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from app.main import Gateway
from app.serving.protocol import limits_of, protocol_of
from app.serving.supervisor import READY
from app.settings import Settings, read_settings
from app.telemetry.logs import configure
from app.telemetry.memory import Memory
from app.telemetry.meters import Meters

SWITCH_SECONDS = 0.0005
"""How long a thread that works on a file may hold up the loop whenever this wants to go on, which it does ten times for one check. By the
interpreter's default of 5 ms half of all checks took more than 95 ms while a file was imported, by this one more than 22."""

COLLECT_AFTER = 20_000
"""Objects that are made, beyond those that are let go, before cycles are looked for: a few hundred checks' at once. What is looked at is young; see
`cache.garbage`."""

KEEP_ALIVE_SECONDS = 75
"""Longer than what clients and proxies keep idle connections for, so that it is they who close them and no request crosses a close."""


class Worker(uvicorn.Server):
    """A server that is told to stop by SIGTERM or by the end of its lifeline; SIGINT of a terminal is the supervisor's to handle."""

    def __init__(self, config: uvicorn.Config, lifeline: socket.socket, stopping: Callable[[], None]) -> None:
        """`stopping` is called when the stop begins: what would go on for ever, an event stream, is to end."""
        super().__init__(config)
        self._lifeline = lifeline
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if sig == signal.SIGTERM:
            self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._lifeline.send(READY)
        asyncio.get_running_loop().add_reader(self._lifeline, self._lifeline_ended)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)

    def _lifeline_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self.should_exit = True


def config_of(settings: Settings, gateway: Gateway) -> uvicorn.Config:
    """How uvicorn serves a gateway."""
    return uvicorn.Config(
        gateway,
        http=protocol_of(limits_of(settings), gateway.meters),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.stop_seconds,
    )


def main(listener: int, lifeline: int, slot: int) -> None:
    """Serve until told to stop."""
    settings = read_settings(dict(os.environ))
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(COLLECT_AFTER)
    configure(settings.log_level, slot)
    meters = Meters(Memory(settings.metrics_folder, slot))
    gateway = Gateway(settings, meters, shared_metrics=settings.metrics_folder, logs=True)
    worker = Worker(config_of(settings, gateway), socket.socket(fileno=lifeline), gateway.feed.close)
    worker.run([socket.socket(fileno=listener)])


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))

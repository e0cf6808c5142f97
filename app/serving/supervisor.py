"""The supervisor: starts the workers, starts one anew that ended by itself, and stops them so that nothing admitted is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from app.settings import Settings

READY = b"ready"
"""What a worker says on its lifeline when it answers."""

RESTART_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0)
"""How long to wait before a worker is started anew, by how often it ended before it was ready; the last for all further times."""

KILL_AFTER_SECONDS = 5
"""Added to the settings' time for a stop, before a worker that still runs is killed."""

_log = logging.getLogger("surgate.supervisor")


class NotStarted(Exception):
    """A worker ended before it was ready, at the start of the service."""


class Supervisor:
    """Runs one worker per listening socket."""

    def __init__(self, settings: Settings, listeners: Sequence[socket.socket]) -> None:
        self._settings = settings
        self._listeners = listeners
        self._stop = asyncio.Event()
        self._processes: dict[int, asyncio.subprocess.Process] = {}

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; `ready` is called once, when every worker answers.

        Raises:
            NotStarted: a worker cannot be started.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        first = [asyncio.create_task(self._start(slot)) for slot in range(len(self._listeners))]
        keepers: list[asyncio.Task[None]] = []
        try:
            lifelines = await self._unless_stopped(asyncio.gather(*first))
            if lifelines is not None:
                ready()
                keepers = [asyncio.create_task(self._keep(slot, lifeline)) for slot, lifeline in enumerate(lifelines)]
                await self._stop.wait()
        finally:
            await self._end([*first, *keepers])

    async def _unless_stopped(self, starting: asyncio.Future[list[socket.socket]]) -> list[socket.socket] | None:
        stopped = asyncio.create_task(self._stop.wait())
        both: list[asyncio.Future[Any]] = [starting, stopped]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if starting.done():
            return starting.result()
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return None

    async def _start(self, slot: int) -> socket.socket:
        """Start a slot's worker and return its lifeline when it is ready. Raises `NotStarted`."""
        mine, theirs = socket.socketpair()
        mine.setblocking(False)
        listener = self._listeners[slot]
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "app.serving.worker",
                *(str(n) for n in (listener.fileno(), theirs.fileno(), slot)),
                pass_fds=(listener.fileno(), theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
            )
        self._processes[slot] = process
        try:
            said = await asyncio.get_running_loop().sock_recv(mine, len(READY))
        except BaseException:
            mine.close()
            raise
        if said != READY:
            mine.close()
            raise NotStarted(f"worker {slot} ended with {await process.wait()} before it was ready")
        _log.info("worker ready", extra={"slot": slot, "pid": process.pid})
        return mine

    async def _keep(self, slot: int, lifeline: socket.socket) -> None:
        """Keep a slot served for as long as the service runs."""
        while True:
            code = await self._processes[slot].wait()
            lifeline.close()
            if self._stop.is_set():
                return
            _log.error("worker ended", extra={"slot": slot, "code": code})
            lifeline = await self._restart(slot)

    async def _restart(self, slot: int) -> socket.socket:
        failures = 0
        while True:
            await asyncio.sleep(RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)])
            try:
                return await self._start(slot)
            except (NotStarted, OSError) as error:  # OSError: no memory or no process to be had just now
                failures += 1
                _log.error("worker not restarted: %s", error)

    async def _end(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """No new connection, then the workers finish what they have, then whoever still runs is killed."""
        self._stop.set()
        for listener in self._listeners:
            listener.close()
        for task in tasks:
            if not task.done():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        running = [p for p in self._processes.values() if p.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        if running:
            _, late = await asyncio.wait(
                [asyncio.create_task(p.wait()) for p in running], timeout=self._settings.stop_seconds + KILL_AFTER_SECONDS
            )
            await self._kill(late)

    async def _kill(self, late: set[asyncio.Task[int]]) -> None:
        for process in self._processes.values():
            if late and process.returncode is None:
                _log.error("worker killed: it did not stop in time", extra={"pid": process.pid})
                process.kill()
        await asyncio.gather(*late)

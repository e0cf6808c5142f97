"""Real worker processes on one store, each on a port of its own, so that a test can say which of them it asks, or freeze one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import httpx

from tests.served import free_port, frozen

READY_WITHIN_SECONDS = 60.0


class Worker:
    """One process of `uvicorn`. Leaving its `with` block ends it."""

    def __init__(self, store: Path, log: Path) -> None:
        self._store = store
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "uvicorn", "app.main:create_app", "--factory", "--port", str(port), "--log-level", "warning"]
        settings = {
            "SURGATE_DATABASE_URL": f"sqlite+aiosqlite:///{store}",
            "SURGATE_VAR_DIR": str(store.parent),
            "SURGATE_REACH_SECONDS": "30",
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SURGATE_")}
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, env=kept | settings, stdout=out, stderr=subprocess.STDOUT)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_until_ready(self) -> None:
        give_up = time.monotonic() + READY_WITHIN_SECONDS
        while time.monotonic() < give_up:
            assert self._process.poll() is None, self._log.read_text()
            try:
                if httpx.get(f"{self.url}/healthz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"not ready: {self._log.read_text()}")

    def frozen(self) -> AbstractContextManager[None]:
        """The process stopped for the time of a block, outside any transaction."""
        return frozen(self._process.pid, self._store)

"""A real service in processes of its own, as `surgate serve` starts it, for tests that kill, freeze, stop or load it."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
_PR_SET_PDEATHSIG = 1
START_SECONDS = 60
STOP_SECONDS = 60
CALL_SECONDS = 60
"""Longer than a writer waits for another one's transaction on a stalled disk: the service says first what is wrong."""


class Reply(NamedTuple):
    """An answer that came whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A service in a folder of its own. `environment`: variables beside its settings, `within`: a program that
    starts it; to be set before it is started. Its processes are a group of their own, which can be killed as a whole."""

    def __init__(self, var: Path, **settings: str) -> None:
        self.var = var
        self.port = free_port()
        self.settings = {"SURGATE_VAR_DIR": str(var), "SURGATE_PORT": str(self.port)} | {
            f"SURGATE_{k.upper()}": v for k, v in settings.items()
        }
        self.environment: dict[str, str] = {}
        self.within: list[str] = []
        self.out, self.err = var.with_suffix(".out"), var.with_suffix(".err")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> Path:
        return self.var / "surgate.db"

    def start(self) -> None:
        """Start it and wait until it says that it serves."""
        with self.out.open("wb") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                [*self.within, sys.executable, "-m", "app", "serve"],
                cwd=ROOT,
                env=environment(**self.settings) | self.environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=dies_with_its_parent,
            )
        deadline = time.monotonic() + START_SECONDS
        while "Surgate: http" not in self.out.read_text(encoding="utf-8"):
            assert self.process.poll() is None, self.err.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, "it does not start"
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send a signal to the process that was started, as an operator would."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        assert self.process is not None
        return self.process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """Stop it as an operator would."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def command(self, *words: str, **settings: str) -> str:
        """A command of the command line with its settings; what it printed. It must succeed."""
        made = subprocess.run(
            [sys.executable, "-m", "app", *words],
            cwd=ROOT,
            env=environment(**(self.settings | settings)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout + made.stderr
        return made.stdout

    def kill(self) -> None:
        """Kill every process of it at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)

    def workers(self) -> list[int]:
        """The workers' process ids."""
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own, kept alive."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_SECONDS)

    def call(self, method: str, path: str, key: str | None = None, body: Any = None, **headers: str) -> Reply:
        """One request on a connection of its own."""
        connection = self.connect()
        try:
            return call(connection, method, path, key, body, **headers)
        finally:
            connection.close()

    def demo_keys(self) -> dict[str, str]:
        made: dict[str, str] = json.loads((self.var / "demo-keys.json").read_bytes())
        return made

    def logged(self) -> list[dict[str, Any]]:
        """What it has logged; every line must be JSON."""
        return [json.loads(line) for line in self.err.read_text(encoding="utf-8").splitlines()]

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of its store, read from outside."""
        connection = sqlite3.connect(self.store)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()


def call(connection: http.client.HTTPConnection, method: str, path: str, key: str | None = None, body: Any = None, **headers: str) -> Reply:
    """One request on a connection. What the connection raises where no whole answer comes is raised."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    if body is not None:
        sent.setdefault("content-type", "application/json")
    content = body if isinstance(body, bytes | None) else json.dumps(body, ensure_ascii=False).encode()
    connection.request(method, path, content, sent)
    answer = connection.getresponse()
    return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


@contextmanager
def served(var: Path, template: Path | None = None, **settings: str) -> Iterator[Served]:
    """A service for the time of a test. `template`: a store to begin with. However slow the machine is, its store is not taken to be away."""
    made = Served(var, **({"reach_seconds": "30"} | settings))
    if template is not None:
        var.mkdir(parents=True)
        shutil.copyfile(template, made.store)
    try:
        made.start()
        yield made
    finally:
        made.kill()


@contextmanager
def frozen(process: int, store: Path) -> Iterator[None]:
    """A process stopped by SIGSTOP, and let go on at the end. It is not stopped in the middle of a transaction: SQLite has one writer, and a
    frozen one holds up everybody, which is another matter."""
    os.kill(process, signal.SIGSTOP)
    while not _can_write(store):
        os.kill(process, signal.SIGCONT)
        time.sleep(0.01)
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def _can_write(store: Path) -> bool:
    connection = sqlite3.connect(store, timeout=0.2, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


def dies_with_its_parent() -> None:
    """Called in a process that begins: the kernel kills it when the tests are killed, which leave nothing behind then."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def environment(**settings: str) -> dict[str, str]:
    """This environment without settings of its own, with those."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SURGATE_")} | {"PYTHONUTF8": "1"} | settings


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def an_order(request_id: str, **changes: Any) -> dict[str, Any]:
    """An order that is allowed, of a case of its own."""
    order = {
        "request_id": request_id,
        "checkpoint": "order",
        "case_id": f"C-{request_id}",
        "department": "胸心外科",
        "urgency": "elective",
        "patient": {"id": "PATIENT-4711"},
        "diagnoses": ["Q21.100"],
        "procedures": [{"code": "35.71001", "operator": "100007"}],
    }
    return order | changes

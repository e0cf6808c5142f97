"""Who is measured over HTTP: processes that are started, frozen while others have their turn, and thawed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from app.engine.model import Grant
from app.store.keys import Role
from loadtests import worlds
from loadtests.bench import echo
from loadtests.deployment import Deployment, on_cores
from loadtests.wire import MARK, Asked
from tests.served import ROOT, START_SECONDS, dies_with_its_parent, free_port
from tests.servers import Postgres, Redis

PEERS = ROOT / ".peers"
SURGATE_PATH, CERBOS_PATH = "/v1/check", "/api/check/resources"

_POLICY = """
apiVersion: api.cerbos.dev/v1
resourcePolicy:
  resource: procedure
  version: default
  rules:
    - actions: [operate]
      effect: EFFECT_ALLOW
      roles: [surgeon]
      condition:
        match:
          expr: >-
            P.attr.grants.exists(g, g.scope in [R.attr.code, R.attr.item] && g.state == "active"
            && (g.department == "" || g.department == R.attr.department)
            && g.valid_from <= R.attr.day && (g.valid_to == "" || R.attr.day <= g.valid_to))
"""


class Subject:
    """Somebody who answers requests. `bodies`: a file of what is sent to it; `given` says what it holds and is handed, `does` what its answer takes in."""

    def __init__(self, name: str, port: int, path: str, bodies: Path, *, given: str, does: str, authorization: str = "-") -> None:
        self.name = name
        self.port = port
        self.path = path
        self.bodies = bodies
        self.authorization = authorization
        self.given = given
        self.does = does

    def freeze(self) -> None:
        """Stop every process of it where it stands: it takes nothing of the cores."""
        raise NotImplementedError

    def thaw(self) -> None:
        """Let it go on; returns when it serves as before."""
        raise NotImplementedError

    def verdict(self, answer: Any) -> bool | None:
        """Whether an answer allows what was asked; None where it says nothing."""
        raise NotImplementedError

    def ask(self, body: bytes) -> bytes:
        """One request; its answer, which must be a 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        try:
            connection.request("POST", self.path, body, {"Content-Type": "application/json", "Authorization": self.authorization})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status == 200, (self.name, answer.status, content)
            return content
        finally:
            connection.close()


class Surgate(Subject):
    """The gateway, and the servers that are its own."""

    def __init__(self, name: str, deployment: Deployment, bodies: Path, given: str, servers: Sequence[Postgres | Redis] = ()) -> None:
        super().__init__(
            name,
            deployment.port,
            SURGATE_PATH,
            bodies,
            given=given,
            does="the full decision on an order with its team, with reasons; recorded in the chained record and synced to the disk before it is answered",
            authorization=f"Bearer {deployment.key(Role.HIS)}",
        )
        self.deployment = deployment
        self.servers = servers

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)
        for server in self.servers:
            server.freeze()

    def thaw(self) -> None:
        for server in self.servers:
            server.thaw()
        self._signal(signal.SIGCONT)
        deadline = time.monotonic() + START_SECONDS
        while (state := self.deployment.ready())["degraded"] or state["status"] != "ready":
            assert time.monotonic() < deadline, state
            time.sleep(0.05)

    def verdict(self, answer: Any) -> bool | None:
        return bool(answer["decision"] == "allow")

    def _signal(self, number: int) -> None:
        assert self.deployment.served.process is not None
        os.killpg(self.deployment.served.process.pid, number)


class Peer(Subject):
    """Another program, of one process."""

    process: subprocess.Popen[bytes]

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class Echo(Peer):
    """A server of the same kind that decides nothing."""

    def __init__(self, port: int, bodies: Path, answer_bytes: int) -> None:
        super().__init__(
            "bare ASGI echo",
            port,
            SURGATE_PATH,
            bodies,
            given="the same requests",
            does=f"reads them and answers {answer_bytes} bytes, as many as Surgate's answers have; uvicorn with uvloop and httptools",
        )

    def verdict(self, answer: Any) -> bool | None:
        return None


class Cerbos(Peer):
    """Cerbos's server, which judges by the attributes that it is sent."""

    def __init__(self, port: int, bodies: Path) -> None:
        super().__init__(
            "Cerbos",
            port,
            CERBOS_PATH,
            bodies,
            given="one policy of one rule; with each request the operator's grants of this one code (picked out of the matrix by the caller, who would "
            "need a store and time for that), department, code, item and day",
            does="yes or no by scope, department, dates and state of those grants; its decision log into a file that is never synced, its access log off; no "
            "catalog, no register, no technologies, no team, no reasons, no idempotency, no record that shows tampering",
        )

    def verdict(self, answer: Any) -> bool | None:
        return bool(answer["results"][0]["actions"]["operate"] == "EFFECT_ALLOW")


@contextmanager
def bare_echo(folder: Path, core: int, bodies: Path, answer_bytes: int) -> Iterator[Echo]:
    """The bare server for a while."""
    made = Echo(free_port(), bodies, answer_bytes)
    command = [sys.executable, "-m", "uvicorn", "--factory", f"{echo.__name__}:app", "--host", "127.0.0.1", "--port", str(made.port)]
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning", "--lifespan", "off"]
    environment = os.environ | {echo.VARIABLE: str(answer_bytes)}
    with _running(made, [*on_cores([core]), *command, *options], folder / "echo.log", environment, lambda: made.ask(b"{}")):
        yield made


@contextmanager
def cerbos(folder: Path, core: int, bodies: Path) -> Iterator[Cerbos]:
    """Cerbos's server for a while, its decisions logged into a file."""
    policies = folder / "policies"
    policies.mkdir(parents=True)
    (policies / "procedure.yaml").write_text(_POLICY, encoding="utf-8")
    made = Cerbos(free_port(), bodies)
    configuration = {
        "server": {"httpListenAddr": f"127.0.0.1:{made.port}", "grpcListenAddr": f"127.0.0.1:{free_port()}"},
        "telemetry": {"disabled": True},
        "storage": {"driver": "disk", "disk": {"directory": str(policies), "watchForChanges": False}},
        "audit": {
            "enabled": True,
            "accessLogsEnabled": False,
            "decisionLogsEnabled": True,
            "backend": "file",
            "file": {"path": str(folder / "audit.log")},
        },
    }
    file = folder / "cerbos.json"
    file.write_text(json.dumps(configuration), encoding="utf-8")
    command = [*on_cores([core]), str(cerbos_program()), "server", "--config", str(file), "--log-level", "warn"]
    with _running(made, command, folder / "cerbos.log", os.environ, lambda: _health(made.port)):
        yield made


def cerbos_body(one: Asked) -> bytes:
    """The same question for Cerbos."""
    (procedure,) = one.order.procedures
    attributes = {
        "code": one.entry.code,
        "item": one.entry.item,
        "department": one.order.department,
        "day": worlds.START.date().isoformat(),
    }
    return msgspec.json.encode(
        {
            "requestId": MARK.decode(),
            "principal": {"id": procedure.operator, "roles": ["surgeon"], "attr": {"grants": [_attributes(g) for g in one.grants]}},
            "resources": [{"actions": ["operate"], "resource": {"kind": "procedure", "id": one.entry.code, "attr": attributes}}],
        }
    )


def _attributes(grant: Grant) -> dict[str, str]:
    return {
        "scope": grant.scope,
        "department": grant.department,
        "valid_from": grant.valid_from.isoformat(),
        "valid_to": "" if grant.valid_to is None else grant.valid_to.isoformat(),
        "state": grant.state.value,
    }


def cerbos_program() -> Path:
    """Where Cerbos's server is."""
    found = PEERS / "node_modules" / "@cerbos" / "cerbos-linux-x64" / "cerbos-linux-x64"
    assert found.is_file(), f"{found} is not there: make peers"
    return found


def cerbos_version() -> str:
    """What it calls itself."""
    made = subprocess.run([cerbos_program(), "--version"], check=True, capture_output=True, text=True)
    return f"Cerbos {made.stdout.split()[0]}"


def _health(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", "/_cerbos/health")
        if connection.getresponse().status != 200:
            raise OSError("not healthy yet")
    finally:
        connection.close()


@contextmanager
def _running(
    peer: Peer, command: Sequence[str], log: Path, environment: Mapping[str, str], answers: Callable[[], object]
) -> Iterator[None]:
    """A peer's process, from when it answers on."""
    with log.open("wb") as out:
        peer.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT, env=environment, preexec_fn=dies_with_its_parent
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                answers()
                break
            except (OSError, http.client.HTTPException):
                assert peer.process.poll() is None, log.read_text(encoding="utf-8")
                assert time.monotonic() < deadline, f"{peer.name} does not start"
                time.sleep(0.05)
        yield
    finally:
        peer.process.kill()
        peer.process.wait()

"""The balancer of `deploy/compose`, HAProxy with the very file, in front of gateways that a test has started."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.files import COMPOSE, secrets_made
from tests.served import CALL_SECONDS, START_SECONDS, Served, dies_with_its_parent, free_port

FROM = "127.0.0.1"
"""Where it calls the gateways from: theirs to name in `trusted_proxies`."""


class Balancer:
    """It runs. `nodes`: the gateways by the names that they have in the file."""

    def __init__(self, folder: Path, nodes: Mapping[str, Served]) -> None:
        self.port = free_port()
        self._certificate = secrets_made(folder) / "secrets" / "tls.pem"
        self._file, self._log = folder / "haproxy.cfg", folder / "haproxy.log"
        text = (COMPOSE / "haproxy.cfg").read_text(encoding="utf-8")
        for before, after in (
            ("maxconn 10000", "maxconn 200"),  # as many files as a test may open
            ("bind :8443 ", f"bind {FROM}:{self.port} "),
            ("/run/secrets/tls.pem", str(self._certificate)),
            *((f" {name}:8080", f" {FROM}:{node.port}") for name, node in nodes.items()),
        ):
            assert before in text
            text = text.replace(before, after)
        self._file.write_text(text, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self._log.open("wb") as log:
            command = [_haproxy(), "-db", "-f", str(self._file)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=dies_with_its_parent)
        deadline = time.monotonic() + START_SECONDS
        while True:
            connection = self.connect()
            try:
                connection.connect()
            except ConnectionRefusedError:
                assert self._process.poll() is None, self._log.read_text(encoding="utf-8")
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.02)
            else:
                return
            finally:
                connection.close()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def connect(self) -> http.client.HTTPSConnection:
        """A connection of its own, kept alive."""
        trusting = ssl.create_default_context(cafile=str(self._certificate))
        return http.client.HTTPSConnection("localhost", self.port, timeout=CALL_SECONDS, context=trusting)

    def taken(self) -> dict[str, int]:
        """How many requests each gateway has answered, by its name."""
        found: dict[str, int] = {}
        for name in re.findall(r" https~ \w+/(\w+) \S+ 200 ", self._log.read_text(encoding="utf-8")):
            found[name] = found.get(name, 0) + 1
        return found


def _haproxy() -> str:
    found = shutil.which("haproxy", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
    assert found is not None, "HAProxy is not installed: make servers"
    return found


@contextmanager
def balancer(folder: Path, nodes: Mapping[str, Served]) -> Iterator[Balancer]:
    """One for the time of a test."""
    folder.mkdir()
    made = Balancer(folder, nodes)
    try:
        made.start()
        yield made
    finally:
        made.kill()

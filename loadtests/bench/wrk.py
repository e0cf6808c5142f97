"""The closed loop: wrk keeps so many connections busy, each of which sends its next request when it has its answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec

from loadtests.bench.subjects import Subject

SCRIPT = Path(__file__).with_name("wrk.lua")
CONNECTIONS = 64


class Pushed(msgspec.Struct, frozen=True):
    """What wrk counted: requests answered, the time that took, answers that were none of success, and requests whose connection failed."""

    requests: int
    microseconds: int
    refused: int
    lost: int

    @property
    def rate(self) -> float:
        """Answers of success a second."""
        return (self.requests - self.refused) / self.microseconds * 1e6

    @property
    def failed(self) -> int:
        return self.refused + self.lost


def push(subject: Subject, seconds: float, within: list[str]) -> Pushed:
    """Keep somebody busy for that long."""
    url = f"http://127.0.0.1:{subject.port}"
    command = [*within, wrk(), "-t1", f"-c{CONNECTIONS}", f"-d{round(seconds)}s", "-s", str(SCRIPT), url, "--"]
    arguments = [str(subject.bodies), fresh_tag(), subject.path, subject.authorization]
    made = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
    _, _, result = made.stdout.partition("RESULT ")
    return msgspec.json.decode(result, type=Pushed)


def fresh_tag() -> str:
    """Marks the ids of one run, so that none of them was ever sent before."""
    return os.urandom(3).hex()


def wrk() -> str:
    """Where wrk is."""
    found = shutil.which("wrk")
    assert found is not None, "wrk is not installed: make peers"
    return found


def wrk_version() -> str:
    """What it calls itself."""
    made = subprocess.run([wrk(), "--version"], check=False, capture_output=True, text=True)
    return " ".join(made.stdout.split()[:2])

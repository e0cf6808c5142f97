"""A command as the first process of a container, which in fact is the first one of a PID namespace."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.served import ROOT, START_SECONDS, STOP_SECONDS

AS_FIRST = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child"]


def test_a_command_that_is_the_first_process_is_stopped_by_a_signal() -> None:
    command = [*AS_FIRST, sys.executable, "-m", "app", "check", "-", "--pack", "packs/wahh"]
    outside = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        first = _child_that_handles(outside, signal.SIGTERM)
        subprocess.run(["kill", "-TERM", str(first)], check=True)
        assert outside.wait(STOP_SECONDS) == 128 + signal.SIGTERM
    finally:
        outside.kill()
        outside.communicate()


def _child_that_handles(process: subprocess.Popen[bytes], number: int) -> int:
    """The process's only child, when it answers to a signal."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the signal is not handled"
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            status = Path(f"/proc/{child}/status").read_text()
            caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
            if caught & 1 << (number - 1):
                return int(child)
        time.sleep(0.02)

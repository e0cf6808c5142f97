"""The machine: what it is, and who runs on which of its cores."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

LIBRARIES = ("msgspec", "uvicorn", "uvloop", "httptools", "pycasbin", "cedarpy", "regopy")


class Cores(NamedTuple):
    """The core of the one who is measured, and the core of the load, of the databases and of the benchmark itself."""

    server: int
    load: int

    @property
    def both(self) -> tuple[int, int]:
        """For what is measured on two cores, the load too."""
        return self.server, self.load


def cores() -> Cores:
    """The first and the last core that this process may use; the same one where there is no other."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[-1])


def pin(core: int) -> None:
    """Keep this process on a core, and all that it starts from now on and that is not put elsewhere."""
    os.sched_setaffinity(0, {core})


def surroundings(use: str, folder: Path, tools: Sequence[str] = ()) -> list[str]:
    """What the figures were measured on. `use`: who ran on which cores. `folder`: where the stores are. `tools`: programs with their versions."""
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"{_processor()}, {os.cpu_count()} cores; {use}",
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.release()}; {libraries}",
        *([", ".join(tools)] if tools else []),
        f"the stores on a file system of type {_file_system(folder)}",
        f"load of the machine when it began: {os.getloadavg()[0]:.1f} processes; above 1 the figures are noisy",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    made = subprocess.run(["stat", "--file-system", "--format=%T", str(folder)], check=True, capture_output=True, text=True)
    return made.stdout.strip()

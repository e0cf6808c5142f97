"""The faults of `tests/promises/`, run one after the other, and what was seen of each as a table in docs/reliability.md: `make faults`."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtests.document import fill
from tests.measured import VARIABLE

ROOT = Path(__file__).parents[1]
REPORT = ROOT / "docs" / "reliability.md"
TESTS = (
    "tests/promises/test_no_fault_loses_an_answer.py",
    "tests/promises/test_a_fail_over_loses_nothing.py",
    "tests/promises/test_a_full_disk_leaves_room_for_emergencies.py",
    "tests/promises/test_a_stepped_clock_changes_nothing.py::test_what_was_answered_is_recorded_once_whatever_the_clock_says",
)

COLUMNS = {
    "what": "Fault",
    "answered": "answered meanwhile",
    "degraded": "of them degraded",
    "refused": "refused (503)",
    "unanswered": "connection lost",
    "slowest_before": "slowest before, s",
    "slowest": "slowest meanwhile, s",
    "normal_after": "normal again after, s",
    "recorded": "recorded in all",
    "lost": "lost or twice",
}


def main() -> None:
    """Run the faults and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measured.jsonl"
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", *TESTS], cwd=ROOT, env=os.environ | {VARIABLE: str(file)}, check=False)
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    fill(REPORT, "measured", _table(rows))
    sys.exit(done.returncode)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f} at the end. Two nodes of two workers, eight clients, one PostgreSQL and one Redis, all on this machine;"
        " one node and no Redis for the fail-over and the full disk.",
        "",
        f"| {' | '.join(COLUMNS.values())} |",
        f"|{'---|' * len(COLUMNS)}",
        *(f"| {' | '.join(str(row.get(name, '')) for name in COLUMNS)} |" for row in rows),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""What a service's processes load: what only few calls want is left out of memory until one comes."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("started", "wanted", "unwanted"),
    [
        ("app.cli.serve", "sqlalchemy", {"fastapi", "openpyxl", "redis", "uvicorn"}),
        ("app.serving.worker", "fastapi", {"alembic", "openpyxl"}),
    ],
    ids=["supervisor", "worker"],
)
def test_a_process_loads_what_it_needs(started: str, wanted: str, unwanted: set[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys, {started}; print(*sys.modules)"], capture_output=True, text=True, encoding="utf-8", check=True
    )
    loaded = set(ran.stdout.split())
    assert wanted in loaded
    assert not unwanted & loaded

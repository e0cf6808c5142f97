"""The README shows what the program prints, each of its console blocks is run and compared, and the settings that there are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n\$ (.*)\n((?:.*\n)*?)```", TEXT)


def test_there_are_blocks() -> None:
    assert any("不允许 deny" in shown for _, shown in BLOCKS)
    assert any("允许 allow" in shown for _, shown in BLOCKS)


@pytest.mark.parametrize(("command", "shown"), BLOCKS, ids=[command for command, _ in BLOCKS])
def test_a_block_shows_what_the_program_prints(command: str, shown: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONUTF8": "1"}
    ran = subprocess.run(["bash", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True, encoding="utf-8", check=False)
    assert ran.stdout + ran.stderr == shown


def test_the_settings_are_those_that_there_are() -> None:
    rows = [f"| `{PREFIX}{name.upper()}` | `{field.default}` | {field.description} |" for name, field in Settings.model_fields.items()]
    assert [line for line in TEXT.splitlines() if line.startswith(f"| `{PREFIX}")] == rows

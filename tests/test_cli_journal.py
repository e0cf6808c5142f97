"""`surgate journal`: what waits is shown without a patient, and brought over by hand."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.store.journal import Journal
from app.store.journal_lock import FolderLock
from tests.served import ROOT, environment
from tests.service.conftest import store_template, template
from tests.store.records import a_record, an_opening

__all__ = ["store_template", "template"]


@pytest.fixture
def var(store_template: Path, tmp_path: Path) -> Path:
    shutil.copytree(store_template.parent, tmp_path, dirs_exist_ok=True)

    async def fill() -> None:
        journal = Journal(tmp_path / "journal")
        await journal.open()
        poison = a_record("R2")
        records = [a_record("R1", opening=an_opening("R1")), poison._replace(key=poison.key._replace(hospital="none")), a_record("R3")]
        assert await journal.append(records, doubtful=False) == {}
        await journal.close()

    asyncio.run(fill())
    assert surgate(tmp_path, "migrate")[0] == 0
    return tmp_path


def surgate(var: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "app", *words]
    made = subprocess.run(command, cwd=ROOT, env=environment(SURGATE_VAR_DIR=str(var)), capture_output=True, text=True, check=False)
    return made.returncode, made.stdout + made.stderr


def test_what_waits_is_shown_and_brought_over(var: Path) -> None:
    code, told = surgate(var, "journal", "show")
    assert (code, "R1" in told, "R3" in told, "P-1" in told) == (0, True, True, False)
    assert "待写入 waiting 3, 被拒 refused 0" in told
    shown = json.loads(surgate(var, "journal", "show", "--json")[1])
    assert [(one["id"], one["override"]) for one in shown["waiting"]] == [("d-R1", True), ("d-R2", False), ("d-R3", False)]
    assert "P-1" not in json.dumps(shown)

    code, told = surgate(var, "journal", "replay")
    assert (code, "brought into the database: 2" in told, "refused: 1" in told) == (1, True, True)
    code, told = surgate(var, "journal", "show")
    assert (code, "waiting 0, 被拒 refused 1" in told, "refused/d-R2.record" in told) == (1, True, True)
    assert "brought into the database: 0" in surgate(var, "journal", "replay", "--refused")[1]
    code, told = surgate(var, "audit", "verify")
    assert (code, "完整 whole" in told) == (0, True), told
    assert "被拒 refused: 1" in surgate(var, "doctor")[1]


def test_a_service_that_is_at_it_is_left_alone(var: Path) -> None:
    lock = FolderLock(var / "journal" / "drain.lock")
    assert lock.acquire(0)
    code, told = surgate(var, "journal", "replay")
    lock.close()
    assert (code, "a running service is at it" in told) == (1, True)
    assert "waiting 3" in surgate(var, "journal", "show")[1]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert surgate(tmp_path, "journal", "show") == (
        0,
        f"{tmp_path / 'journal'}: 待写入 waiting 0, 被拒 refused 0, 无法读取 unreadable 0\n",
    )

"""The package as it is installed: what the program needs beside its code is within."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from app.store.migrate import newest
from tests.served import environment

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation from the wheel, made without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")], ROOT)
    (wheel,) = (folder / "dist").iterdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-compile"]
    _run([*pip, "--target", str(folder / "site"), str(wheel)], folder)
    return folder / "site"


def test_an_installed_package_makes_a_store(installed: Path, tmp_path: Path) -> None:
    _surgate(installed, tmp_path, "migrate")
    connection = sqlite3.connect(tmp_path / "var" / "surgate.db")
    try:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(newest(),)]
        assert connection.execute("SELECT count(*) FROM grants").fetchall() == [(0,)]
    finally:
        connection.close()


def test_an_installed_package_has_its_packs_and_its_example(installed: Path, tmp_path: Path) -> None:
    order = installed / "app" / "shipped_docs" / "example-order.json"
    pack = installed / "app" / "shipped_packs" / "wahh"
    ran = _surgate(installed, tmp_path, "check", str(order), "--pack", str(pack), "--now", "2026-11-22T09:00:00+08:00", code=1)
    assert "授权已于 2026-09-30 到期" in ran


def _surgate(installed: Path, folder: Path, *arguments: str, code: int = 0) -> str:
    """The command as it is installed, run in a folder that has nothing of the project."""
    settings = environment(PYTHONPATH=str(installed), SURGATE_VAR_DIR=str(folder / "var"))
    where = _run([sys.executable, "-c", "import app; print(app.__file__)"], folder, settings)
    assert Path(where.strip()).is_relative_to(installed)
    return _run([sys.executable, "-m", "app", *arguments], folder, settings, code)


def _run(command: list[str], folder: Path, settings: dict[str, str] | None = None, code: int = 0) -> str:
    ran = subprocess.run(
        command, cwd=folder, env=settings or dict(os.environ), capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert ran.returncode == code, ran.stderr
    return ran.stdout

"""Two nodes on one PostgreSQL, each with a folder of its own: the key that seals is changed as docs/operations.md says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.served import ROOT, an_order, environment, served
from tests.service.conftest import Shared


def test_a_new_key_for_the_seals_is_vouched_for_on_every_node(shared: Shared, tmp_path: Path) -> None:
    shared.server.execute("CREATE DATABASE nodes TEMPLATE template")
    url = shared.server.url("nodes")
    folders = (tmp_path / "one", tmp_path / "two")
    for folder in folders:
        folder.mkdir()
        shutil.copyfile(shared.folder / "seal-key.pem", folder / "seal-key.pem")
    _serve(shared, folders, url, "BEFORE")
    # With every node stopped: on one of them, whose file is then given to the others.
    assert _run(folders[0], url, "audit", "rotate-key").returncode == 0
    shutil.copyfile(folders[0] / "seal-key.pem", folders[1] / "seal-key.pem")
    _serve(shared, folders, url, "AFTER")
    for folder in folders:
        verified = _run(folder, url, "audit", "verify")
        assert verified.returncode == 0, verified.stdout


def _serve(shared: Shared, folders: tuple[Path, ...], url: str, name: str) -> None:
    """Serve on both, with a check on each, and stop."""
    with ExitStack() as stack:
        services = [stack.enter_context(served(folder, database_url=url)) for folder in folders]
        for number, service in enumerate(services):
            assert service.call("POST", "/v1/check", shared.keys["his"], an_order(f"{name}-{number}")).status == 200
        for service in services:
            assert service.stop() == 0


def _run(folder: Path, url: str, *command: str) -> subprocess.CompletedProcess[str]:
    settings = {"SURGATE_VAR_DIR": str(folder), "SURGATE_DATABASE_URL": url}
    return subprocess.run(
        [sys.executable, "-m", "app", *command], cwd=ROOT, env=environment(**settings), capture_output=True, text=True, check=False
    )


def test_nodes_that_start_at_once_on_an_empty_database_make_its_tables_once(shared: Shared, tmp_path: Path) -> None:
    shared.server.execute("CREATE DATABASE empty")
    url = shared.server.url("empty")
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
        shutil.copyfile(shared.folder / "seal-key.pem", folder / "seal-key.pem")
    with ThreadPoolExecutor(len(folders)) as pool:
        for made in pool.map(lambda folder: _run(folder, url, "migrate"), folders):
            assert made.returncode == 0, made.stdout + made.stderr
    assert shared.server.execute("SELECT count(*) FROM alembic_version", "empty") == "1"
    assert shared.server.execute("SELECT count(*) FROM seal_keys", "empty") == "1"

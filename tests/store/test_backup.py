"""Backup and restore, by the very commands of docs/operations.md: taken while the service is under load, put into an empty server, verified, served
again."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.served import ROOT, Served, an_order, environment, served
from tests.servers import Postgres, _tool, postgres
from tests.service.conftest import Shared

OWNER = "gate"

SECTION = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("## Backup and restore")[2].partition("\n## ")[0]
OF_POSTGRESQL, TO_POSTGRESQL, _OF_COMPOSE, _TO_COMPOSE, OF_SQLITE = re.findall(r"^```sh\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
"""The commands, in the order in which they stand there. Nobody can run those of the containers here."""

SEALING = "3600"
"""Seconds: no seal is made while a backup is."""


def test_a_dump_and_the_folder_of_seals_are_the_whole_record(shared: Shared, tmp_path: Path) -> None:
    shared.server.execute("CREATE DATABASE hospital TEMPLATE template")
    var, dump = _node(tmp_path / "node", shared.folder), tmp_path / "backup" / "surgate.dump"
    with served(var, database_url=shared.server.url("hospital")) as service:
        first = _check(service, shared.keys, "BEFORE-1")
        with _load(service, shared.keys):
            _backup(shared.server, "hospital", var, dump.parent)
        kept = tmp_path / "kept"
        shutil.copytree(dump.parent / "NODE", kept)
        shutil.copyfile(var / "seal-key.pem", kept / "seal-key.pem")
        late = _check(service, shared.keys, "AFTER-1")
        assert service.stop() == 0
    with postgres(tmp_path / "empty") as server:
        _restore(server, "surgate", dump)
        url = server.url("surgate").replace("surgate@", f"{OWNER}@")
        assert _findings(kept, database_url=url) == []
        with served(kept, database_url=url) as service:
            again = _check(service, shared.keys, "BEFORE-1")
            assert (again["replayed"], again["decision_id"]) == (True, first["decision_id"])
            assert _check(service, shared.keys, "NEW-1")["replayed"] is False
            # What came after the dump is not in it: judged anew.
            anew = _check(service, shared.keys, "AFTER-1")
            assert (anew["replayed"], anew["decision_id"] != late["decision_id"]) == (False, True)
            assert service.stop() == 0
        assert _findings(kept, database_url=url) == []


def test_what_an_older_dump_does_not_hold_is_named(shared: Shared, tmp_path: Path) -> None:
    shared.server.execute("CREATE DATABASE older TEMPLATE template")
    var, dump = _node(tmp_path / "node", shared.folder), tmp_path / "backup" / "surgate.dump"
    with served(var, database_url=shared.server.url("older")) as service:
        _check(service, shared.keys, "BEFORE-1")
        _backup(shared.server, "older", var, dump.parent)
        last = int(shared.server.execute("SELECT max(number) FROM chain", "older"))
        for number in range(3):
            _check(service, shared.keys, f"AFTER-{number}")
        assert service.stop() == 0
    ended = int(shared.server.execute("SELECT max(number) FROM chain", "older"))
    _restore(shared.server, "restored", dump)
    # The node's own folder is newer than the dump: it knows up to where the record went.
    assert _findings(var, database_url=shared.server.url("restored")) == [("tail_cut", last + 1, ended)]


def test_a_copy_of_the_embedded_store_and_the_folder_of_seals_are_the_whole_record(
    store_template: Path, keys: dict[str, str], tmp_path: Path
) -> None:
    var = _node(tmp_path / "node", store_template.parent)
    shutil.copyfile(store_template, var / "surgate.db")
    with served(var, seal_seconds=SEALING) as service:
        first = _check(service, keys, "BEFORE-1")
        with _load(service, keys):
            kept = tmp_path / "kept"
            _run(OF_SQLITE, var, kept, {})
            shutil.copyfile(var / "seal-key.pem", kept / "seal-key.pem")
        _check(service, keys, "AFTER-1")
        assert service.stop() == 0
    older = _keep(var, tmp_path / "older")
    shutil.copyfile(kept / "surgate.db", older / "surgate.db")
    assert _findings(kept) == []
    with served(kept) as service:
        again = _check(service, keys, "BEFORE-1")
        assert (again["replayed"], again["decision_id"]) == (True, first["decision_id"])
        assert _check(service, keys, "AFTER-1")["replayed"] is False
        assert service.stop() == 0
    assert _findings(kept) == []
    # The same copy with the node's newer folder of seals: what came after it is named.
    assert _findings(older) == [("tail_cut", _last(older) + 1, _last(var))]


def _last(var: Path) -> int:
    with closing(sqlite3.connect(var / "surgate.db")) as connection:
        number: int = connection.execute("SELECT max(number) FROM chain").fetchone()[0]
        return number


def _node(var: Path, template: Path) -> Path:
    """A node's folder with the key and what was sealed so far."""
    var.mkdir()
    shutil.copyfile(template / "seal-key.pem", var / "seal-key.pem")
    shutil.copytree(template / "seals", var / "seals", dirs_exist_ok=True)
    return var


def _keep(var: Path, to: Path) -> Path:
    """What is taken of a node's folder. Before the database: heads must not be newer than it."""
    return _node(to, var)


def _backup(server: Postgres, database: str, var: Path, to: Path) -> None:
    _run(_of(OF_POSTGRESQL, database), var, to, _reached(server))


def _restore(server: Postgres, database: str, file: Path) -> None:
    """Into a database of a role that is no superuser."""
    _run(_of(TO_POSTGRESQL, database), file.parent, file.parent, _reached(server))


def _of(commands: str, database: str) -> str:
    """The same for a database and a role of those names: the tests' servers have others, and their superuser is `surgate`."""
    named = re.sub(r"(createuser |--owner=|--role=)surgate\b", rf"\1{OWNER}", commands)
    return re.sub(r"(--dbname=|(?<=[\w-]) )surgate(?=\s*(#|\n| B))", rf"\1{database}", named)


def _reached(server: Postgres) -> dict[str, str]:
    folder = Path(_tool("pg_dump")).parent
    return {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "surgate", "PATH": f"{folder}:{os.environ['PATH']}"}


def _run(commands: str, var: Path, backup: Path, env: dict[str, str]) -> None:
    """What an operator would type; the program's own commands are run by the test itself."""
    lines = [line for line in commands.splitlines() if not line.startswith("surgate ")]
    text = "\n".join(lines).replace("VAR_DIR", str(var)).replace("BACKUP", str(backup))
    ran = subprocess.run(["bash", "-euc", text], env=os.environ | env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{text}\n{ran.stderr}"


def _findings(var: Path, **settings: str) -> list[tuple[str, int, int]]:
    """What `surgate audit verify` finds."""
    given = {"SURGATE_VAR_DIR": str(var)} | {f"SURGATE_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "app", "audit", "verify", "--json"]
    ran = subprocess.run(command, cwd=ROOT, env=environment(**given), capture_output=True, check=False)
    reports = json.loads(ran.stdout)
    found = [(one["what"], one["place"]["number"], one["place"]["last"]) for report in reports for one in report["findings"]]
    assert reports, ran.stderr
    assert ran.returncode == (1 if found else 0)
    return found


def _check(service: Served, keys: dict[str, str], request_id: str) -> dict[str, Any]:
    reply = service.call("POST", "/v1/check", keys["his"], an_order(request_id))
    assert reply.status == 200, reply
    made: dict[str, Any] = reply.json
    return made


@contextmanager
def _load(service: Served, keys: dict[str, str]) -> Iterator[None]:
    """Checks one after the other for as long as the block lasts; some before it, and one at least after it."""
    begun, stop, failed = threading.Event(), threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            for number in range(1_000_000):
                _check(service, keys, f"LOAD-{number}")
                if number == 5:
                    begun.set()
                if stop.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - told by the block's end
            failed.append(error)
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        begun.wait()
        yield
    finally:
        stop.set()
        thread.join()
    assert not failed

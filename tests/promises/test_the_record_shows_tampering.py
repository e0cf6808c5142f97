"""Editing, deleting, inserting, reordering or cutting off recorded decisions is found, and the finding names the place.

A real service with two workers records; the file of its database is then changed directly. What each way of tampering looks like in full is in
`tests/audit/`.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.promises.conftest import store_template, template
from tests.served import ROOT, Served, an_order, call, environment, served

__all__ = ["store_template", "template"]

VERIFICATIONS_UNDER_LOAD = 3
CHECKS = 40


def verify(var: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """What `surgate audit verify` says, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "app", "audit", "verify", "--json", *more],
        cwd=ROOT,
        env=environment(SURGATE_VAR_DIR=str(var)),
        capture_output=True,
        text=True,
        check=False,
    )
    (report,) = json.loads(ran.stdout)
    return ran.returncode, report


def checks(service: Served, key: str, first: int, count: int) -> None:
    connection = service.connect()
    for number in range(first, first + count):
        assert call(connection, "POST", "/v1/check", key, an_order(f"R{number}")).status == 200
    connection.close()


@pytest.fixture(scope="module")
def killed(template: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a service with two workers that was killed in its work. It was verified while it was at work."""
    var = tmp_path_factory.mktemp("record") / "var"
    with served(var, template.path, workers="2") as service:
        key = template.keys["his"]
        load = [threading.Thread(target=checks, args=(service, key, at * 1000, CHECKS)) for at in range(4)]
        for thread in load:
            thread.start()
        for _ in range(VERIFICATIONS_UNDER_LOAD):
            code, report = verify(var)
            assert (code, report["findings"]) == (0, [])
            answered = service.call("GET", "/v1/audit/verify", template.keys["auditor"])
            assert (answered.status in (200, 503), answered.json.get("findings", [])) == (True, [])
        for thread in load:
            thread.join()
        service.kill()
    return var


def test_a_record_is_whole_after_a_kill(killed: Path) -> None:
    code, report = verify(killed)
    assert (code, report["whole"], report["findings"]) == (0, True, [])
    decisions = _rows(killed, "SELECT count(*) FROM decisions")[0][0]
    assert decisions == 4 * CHECKS
    assert report["entries"] >= decisions
    assert report["sealed_until"] == report["last"]  # by the head: the last commit was signed before its answers left


def _rows(var: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(var / "surgate.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def _edit(db: sqlite3.Connection, number: int, ref: str) -> None:
    db.execute("UPDATE decisions SET decision = 'deny' WHERE id = ?", (ref,))


def _delete(db: sqlite3.Connection, number: int, ref: str) -> None:
    db.execute("DELETE FROM decisions WHERE id = ?", (ref,))
    db.execute("DELETE FROM decision_terms WHERE decision_id = ?", (ref,))


def _delete_with_its_entry(db: sqlite3.Connection, number: int, ref: str) -> None:
    _delete(db, number, ref)
    db.execute("DELETE FROM chain WHERE number = ?", (number,))


def _insert(db: sqlite3.Connection, number: int, ref: str) -> None:
    db.execute("CREATE TEMP TABLE copied AS SELECT * FROM decisions WHERE id = ?", (ref,))
    db.execute("UPDATE copied SET seq = 99999, id = 'forged', request_id = 'forged'")
    db.execute("INSERT INTO decisions SELECT * FROM copied")


def _reorder(db: sqlite3.Connection, number: int, ref: str) -> None:
    (other,) = db.execute("SELECT ref FROM chain WHERE kind = 'decision' AND number > ? ORDER BY number LIMIT 1", (number,)).fetchone()
    seqs = dict(db.execute("SELECT id, seq FROM decisions WHERE id IN (?, ?)", (ref, other)).fetchall())
    for seq, id_ in ((-1, ref), (seqs[ref], other), (seqs[other], ref)):
        db.execute("UPDATE decisions SET seq = ? WHERE id = ?", (seq, id_))


def _cut_off(db: sqlite3.Connection, number: int, ref: str) -> None:
    db.execute("DELETE FROM decision_terms WHERE decision_id IN (SELECT ref FROM chain WHERE number >= ?)", (number,))
    db.execute("DELETE FROM decisions WHERE id IN (SELECT ref FROM chain WHERE number >= ?)", (number,))
    db.execute("DELETE FROM chain WHERE number >= ?", (number,))
    db.execute("DELETE FROM seals WHERE number >= ?", (number,))


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        (_edit, "record_changed"),
        (_delete, "record_missing"),
        (_delete_with_its_entry, "entry_missing"),
        (_insert, "record_inserted"),
        (_reorder, "order_changed"),
        (_cut_off, "tail_cut"),
    ],
)
@pytest.mark.parametrize("place", ["early", "late"])
def test_tampering_is_found_at_its_place(
    killed: Path, tmp_path: Path, tamper: Callable[[sqlite3.Connection, int, str], None], what: str, place: str
) -> None:
    var = tmp_path / "var"
    shutil.copytree(killed, var)
    entries = _rows(var, "SELECT number, ref FROM chain WHERE kind = 'decision' ORDER BY number")
    index = 3 if place == "early" else len(entries) - 2
    (number, ref), (_, following) = entries[index : index + 2]
    with sqlite3.connect(var / "surgate.db") as connection:
        tamper(connection, number, ref)
    connection.close()
    code, report = verify(var)
    assert code == 1
    found = [finding["place"] for finding in report["findings"] if finding["what"] == what]
    if what == "record_inserted":
        assert [place["ref"] for place in found] == ["forged"]
    elif what == "order_changed":
        assert [place["ref"] for place in found] == [following]
    elif what == "tail_cut":
        assert [(place["number"], place["last"]) for place in found] == [(number, entries[-1][0])]
    else:
        assert [place["number"] for place in found] == [number]

"""Retention: what leaves the database stays verifiable, and is deleted no earlier than it may be."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from app.audit import archive
from app.cli import main
from tests.audit.conftest import HOSPITAL, Kept
from tests.audit.test_files import verified
from tests.audit.test_verify import found

OLD_DAYS = 500
BEFORE = (datetime.now(UTC) - timedelta(days=400)).date().isoformat()


def run(kept: Kept, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", *arguments, "--hospital", HOSPITAL], env={"SURGATE_VAR_DIR": str(kept.var)})


def files(kept: Kept) -> list[Path]:
    return sorted(kept.settings.archives_folder.glob("*.jsonl.gz"), key=lambda file: int(file.name.split("-")[1]))


@pytest.fixture
def old(kept: Kept) -> Kept:
    """A record of more than a year ago, whose reviews have ended, with a seal halfway."""
    kept.close_reviews()
    kept.age(OLD_DAYS, [10])
    assert kept.verify().whole
    return kept


def archived(kept: Kept) -> Kept:
    done = run(kept, "archive", "--before", BEFORE)
    assert (done.exit_code, done.output.count("archived")) == (0, len(files(kept))), done.output
    return kept


def test_what_is_archived_leaves_the_database_and_stays_verifiable(old: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 12)
    before = old.entries()
    archived(old)
    assert [file.name for file in files(old)] == ["wahh-1-10.jsonl.gz", f"wahh-11-{len(before)}.jsonl.gz"]
    for table in ("decisions", "decision_terms", "reads"):
        assert old.rows(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert old.rows("SELECT count(*) FROM override_steps") == [(sum(entry.kind == "override" for entry in before),)]
    assert {entry.kind for entry in old.entries()} == {"change", "override"}
    report = old.verify()
    assert report.whole, report.findings
    assert (report.archives, report.first, report.entries) == (2, 1, len(before) + 2)  # each archive is itself a change
    assert report.last == report.sealed_until == len(before) + 2
    for file in files(old):
        assert verified(file).returncode == 0
        assert oct(file.stat().st_mode)[-3:] == "600"
    held = [json.loads(line) for file in files(old) for line in gzip.decompress(file.read_bytes()).splitlines()]
    assert [line["number"] for line in held if "number" in line] == [entry.number for entry in before]
    assert run(old, "archive", "--before", BEFORE).output == "没有可处理的记录 / nothing to do\n"


def test_what_comes_after_an_archive_goes_on_from_it_and_is_exported_alone(old: Kept) -> None:
    last = old.entries()[-1].number
    archived(old)
    out = old.var / "record.jsonl"
    done = run(old, "export", "--out", str(out))
    assert done.exit_code == 0, done.output
    heading = json.loads(out.read_bytes().splitlines()[0])
    assert (heading["first"], heading["archived_before"][0]["last"]) == (last + 1, last)
    assert verified(out).returncode == 0


def test_an_open_review_stops_the_archive_before_its_decision(kept: Kept) -> None:
    number = kept.rows("SELECT c.number FROM chain c JOIN overrides o ON o.decision_id = c.ref ORDER BY c.number")[0][0]
    kept.age(OLD_DAYS, list(range(1, 6)))
    archived(kept)
    assert files(kept)[-1].name == f"wahh-1-{number - 1}.jsonl.gz"
    assert kept.verify().whole


def test_what_is_younger_than_a_year_or_than_the_day_stays(kept: Kept) -> None:
    kept.close_reviews()
    refused = run(kept, "archive", "--before", (datetime.now(UTC) - timedelta(days=300)).date().isoformat())
    assert (refused.exit_code, "only what is older" in refused.output) == (1, True)
    assert "nothing to do" in run(kept, "archive", "--before", BEFORE).output


def test_a_record_that_is_not_whole_is_not_archived(old: Kept) -> None:
    entry = old.entries("decision")[0]
    old.run("UPDATE decisions SET decision = 'x' WHERE id = ?", entry.ref)
    refused = run(old, "archive", "--before", BEFORE)
    assert (refused.exit_code, f"#{entry.number} record_changed" in refused.output) == (1, True)
    assert old.rows("SELECT count(*) FROM archives") == [(0,)]
    assert files(old) == []
    assert found(old.verify()) == {("record_changed", entry.number, entry.number, entry.ref)}


def test_every_tampering_with_archives_is_found(old: Kept, tmp_path: Path) -> None:
    last = old.entries()[-1].number
    archived(old)
    (file,) = files(old)
    kept = old.var.with_name("kept")
    shutil.copytree(old.var, kept)

    def harmed(*statements: str, content: bytes | None = None) -> set[str]:
        shutil.rmtree(old.var)
        shutil.copytree(kept, old.var)
        if content is not None:
            file.write_bytes(content)
        for statement in statements:
            old.run(statement)
        report = old.verify()
        assert all(f.place.number is not None for f in report.findings if f.what.startswith("archive"))
        return {f.what for f in report.findings}

    whole = gzip.decompress(file.read_bytes())
    edited = gzip.compress(whole.replace(b'"decision":"deny"', b'"decision":"allow"', 1))
    assert harmed(content=edited) == {"archive_changed", "record_changed"}
    assert harmed(content=file.read_bytes()[:-10]) == {"archive_changed"}
    assert harmed("UPDATE archives SET last = last - 1") >= {"archive_changed"}
    assert harmed("UPDATE archives SET hash = zeroblob(32)") >= {"archive_changed"}
    assert harmed("DELETE FROM archives") >= {"entry_missing"}
    assert harmed(f"DELETE FROM chain WHERE kind = 'change' AND number < {last}") >= {"entry_missing", "record_inserted"}
    assert harmed("UPDATE changes SET reason = 'x' WHERE seq = 2") == {"record_changed"}
    assert harmed("UPDATE chain SET digest = zeroblob(32) WHERE number = 1") >= {"entry_changed"}
    file.unlink()
    assert found(old.verify()) >= {("archive_missing", 1, last, file.name)}


def test_an_archive_is_purged_when_its_retention_has_passed_and_not_before(old: Kept) -> None:
    last = old.entries()[-1].number
    archived(old)
    (file,) = files(old)
    assert "nothing to do" in run(old, "purge").output
    settings = msgspec.json.decode(old.rows("SELECT settings FROM hospitals")[0][0])
    old.run("UPDATE hospitals SET settings = ?", msgspec.json.encode(settings | {"retention_years": 1}))
    done = run(old, "purge")
    assert (done.exit_code, file.name in done.output, file.exists()) == (0, True, False)
    assert old.rows("SELECT kind, subject, action FROM changes ORDER BY seq DESC LIMIT 1") == [("archive", file.name, "purge")]
    report = old.verify()
    assert report.whole, report.findings
    assert (report.purged_until, report.first) == (last, last + 1)
    assert "nothing to do" in run(old, "purge").output
    old.run("UPDATE archives SET purged_at = NULL")
    assert {"archive_missing"} == {f.what for f in old.verify().findings}


def test_fifteen_years_are_kept_where_the_hospital_says_nothing(kept: Kept) -> None:
    kept.close_reviews()
    kept.age(15 * 365 - 30, [])
    archived(kept)
    assert "nothing to do" in run(kept, "purge").output
    kept.run("UPDATE archives SET newest = ?", (datetime.now(UTC) - timedelta(days=15 * 366)).isoformat(timespec="microseconds"))
    assert "purged" in run(kept, "purge").output


def test_two_do_not_archive_at_once(old: Kept) -> None:
    with archive._alone(old.settings.archives_folder):
        refused = run(old, "archive", "--before", BEFORE)
    assert (refused.exit_code, "another process" in refused.output) == (1, True)

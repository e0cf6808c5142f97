"""Every way of tampering with the record is found, at its place. The tampering is done to the database's file and to what is beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.audit.findings import Verification
from app.audit.keyfile import KeyFile
from app.store import chain
from tests.audit.conftest import HOSPITAL, Entry, Kept


def found(report: Verification) -> set[tuple[str, int | None, int | None, str | None]]:
    """What, from and to which entry, which record."""
    assert report.whole == (not report.findings)
    return {(f.what, f.place.number, f.place.last, f.place.ref) for f in report.findings}


def at(what: str, entry: Entry) -> tuple[str, int, int, str]:
    return what, entry.number, entry.number, entry.ref


def seals(kept: Kept) -> list[int]:
    """What the seals vouch for: the one made halfway, and the one made at the stop; before them there is one from the start."""
    numbers: list[int] = [row[0] for row in kept.rows("SELECT number FROM seals ORDER BY number")]
    assert len(numbers) == 3
    return numbers


def append(file: Path, content: bytes) -> None:
    with file.open("ab") as stream:
        stream.write(content)


def test_a_record_that_nobody_touched_is_whole(kept: Kept) -> None:
    report = kept.verify()
    entries = kept.entries()
    assert found(report) == set()
    assert (report.entries, report.first, report.last) == (len(entries), 1, len(entries))
    assert {entry.kind for entry in entries} == set(chain.KINDS)
    assert report.sealed_until == report.last
    assert report.seals == 3
    assert [key.counts for key in report.keys] == [True]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE decisions SET decision = 'allow', answer = replace(answer, '\"deny\"', '\"allow\"') WHERE id = ?",
        "UPDATE decisions SET \"order\" = replace(CAST(\"order\" AS TEXT), '100234', '100007') WHERE id = ?",
        "UPDATE decisions SET past = x'ff' WHERE id = ?",
        "UPDATE decisions SET at = '2020-01-01T00:00:00.000000+00:00' WHERE id = ?",
        "UPDATE decisions SET patient_id = 'P-other' WHERE id = ?",
        "UPDATE decisions SET matrix_version = NULL WHERE id = ?",
        "UPDATE decision_terms SET value = 'grant_missing' WHERE kind = 'reason' AND decision_id = ?",
        "UPDATE decision_terms SET at = '2020-01-01T00:00:00.000000+00:00' WHERE decision_id = ?",
        "UPDATE decision_terms SET hospital = 'other' WHERE kind = 'operator' AND decision_id = ?",
        "DELETE FROM decision_terms WHERE kind = 'code' AND decision_id = ?",
        "INSERT INTO decision_terms SELECT hospital, 'reason', 'plan_changed', decision_id, at FROM decision_terms WHERE decision_id = ? LIMIT 1",
    ],
)
def test_an_edited_decision_is_found(kept: Kept, statement: str) -> None:
    entry = kept.entries("decision")[1]
    kept.run(statement, entry.ref)
    assert found(kept.verify()) == {at("record_changed", entry)}


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        ("change", "UPDATE changes SET \"by\" = '100001' WHERE seq = ?"),
        ("change", "UPDATE changes SET detail = 'null' WHERE seq = ?"),
        ("read", "UPDATE reads SET client = 'somebody' WHERE seq = ?"),
        ("override", "UPDATE override_steps SET note = 'x' WHERE seq = ?"),
    ],
)
def test_an_edited_record_of_any_kind_is_found(kept: Kept, kind: str, statement: str) -> None:
    entry = kept.entries(kind)[-1]
    kept.run(statement, entry.ref)
    assert found(kept.verify()) == {at("record_changed", entry)}


@pytest.mark.parametrize(
    ("kind", "table", "ref"), [("decision", "decisions", "id"), ("read", "reads", "seq"), ("change", "changes", "seq")]
)
def test_a_deleted_record_is_found(kept: Kept, kind: str, table: str, ref: str) -> None:
    entry = kept.entries(kind)[0]
    kept.run(f"DELETE FROM {table} WHERE {ref} = ?", entry.ref)
    wanted: set[tuple[str, int | None, int | None, str | None]] = {at("record_missing", entry)}
    if kind == "decision":
        wanted.add(("record_inserted", None, None, entry.ref))  # what it was found by is left over
    assert found(kept.verify()) == wanted


def test_a_record_deleted_with_its_entry_is_found(kept: Kept) -> None:
    entry = kept.entries("read")[0]
    kept.run("DELETE FROM reads WHERE seq = ?", entry.ref)
    kept.run("DELETE FROM chain WHERE number = ?", entry.number)
    assert found(kept.verify()) == {("entry_missing", entry.number, entry.number, None)}


def test_the_first_entries_deleted_are_found(kept: Kept) -> None:
    gone = [entry for entry in kept.entries() if entry.number <= 3]
    kept.run("DELETE FROM chain WHERE number <= 3")
    wanted = {("entry_missing", 1, 3, None)} | {("record_inserted", None, None, entry.ref) for entry in gone}
    assert found(kept.verify()) == wanted


@pytest.mark.parametrize("kind", ["decision", "read", "change", "override"])
def test_an_inserted_record_is_found(kept: Kept, kind: str) -> None:
    table, entry = chain.KINDS[kind].name, kept.entries(kind)[0]
    with kept.tampering() as connection:
        connection.execute(
            f"CREATE TEMP TABLE copied AS SELECT * FROM {table} WHERE {'id' if kind == 'decision' else 'seq'} = ?", (entry.ref,)
        )
        connection.execute("UPDATE copied SET seq = 9999" + (", id = 'forged', request_id = 'forged'" if kind == "decision" else ""))
        connection.execute(f"INSERT INTO {table} SELECT * FROM copied")
    wanted = ("record_inserted", None, None, "forged" if kind == "decision" else "9999")
    assert wanted in found(kept.verify())


def test_an_inserted_entry_is_found(kept: Kept) -> None:
    last = kept.entries()[-1].number
    kept.run("INSERT INTO chain SELECT hospital, ?, 'read', '9999', at, digest, hash FROM chain WHERE number = ?", last + 1, last)
    assert ("entry_changed", last + 1, last + 1, "9999") in found(kept.verify())


@pytest.mark.parametrize("column", ["digest", "hash", "at", "ref", "kind"])
def test_an_edited_entry_is_found(kept: Kept, column: str) -> None:
    entry = kept.entries("decision")[2]
    kept.run(f"UPDATE chain SET {column} = ? WHERE number = ?", b"x" * 32 if column in ("digest", "hash") else "x", entry.number)
    report = kept.verify()
    changed = [f for f in report.findings if f.what == "entry_changed"]
    assert [f.place.number for f in changed] == [entry.number]


def test_reordered_decisions_are_found(kept: Kept) -> None:
    first, second = kept.entries("decision")[:2]
    for seq, ref in ((-1, first.ref), (1, second.ref), (2, first.ref)):
        kept.run("UPDATE decisions SET seq = ? WHERE id = ?", seq, ref)
    assert found(kept.verify()) == {at("order_changed", second)}


def test_swapped_entries_are_found(kept: Kept) -> None:
    first, second = kept.entries("decision")[:2]
    for number, ref in ((-1, first.ref), (first.number, second.ref), (second.number, first.ref)):
        kept.run("UPDATE chain SET number = ? WHERE kind = 'decision' AND ref = ?", number, ref)
    report = kept.verify()
    assert {("entry_changed", first.number, first.number, second.ref), ("order_changed", second.number, second.number, first.ref)} <= found(
        report
    )


def cut(kept: Kept, after: int) -> None:
    """Cut off the end of the record so that what is left fits together."""
    for entry in kept.entries():
        if entry.number > after:
            table = chain.KINDS[entry.kind].name
            with kept.tampering() as connection:
                connection.execute("DELETE FROM decision_terms WHERE decision_id = ?", (entry.ref,))
                connection.execute(f"DELETE FROM {table} WHERE {'id' if entry.kind == 'decision' else 'seq'} = ?", (entry.ref,))
    kept.run("DELETE FROM chain WHERE number > ?", after)


def test_a_tail_cut_off_with_its_seals_is_found_to_the_last_commit(kept: Kept) -> None:
    last = kept.entries()[-1].number
    cut(kept, last - 1)
    kept.run("DELETE FROM seals WHERE number = ?", last)
    assert found(kept.verify()) == {("tail_cut", last, last, None)}


def test_a_tail_cut_off_is_found_by_the_seals_alone(kept: Kept) -> None:
    last = kept.entries()[-1].number
    cut(kept, last - 4)
    (kept.seals / f"{HOSPITAL}.head").unlink()
    assert {("tail_cut", last - 3, last, None), ("head_missing", last - 4, last - 4, None)} <= found(kept.verify())


def test_a_whole_chain_deleted_is_found(kept: Kept) -> None:
    last = kept.entries()[-1].number
    for table in ("chain", "decisions", "decision_terms", "reads", "changes", "override_steps", "overrides", "seals"):
        kept.run(f"DELETE FROM {table}")
    assert ("tail_cut", 1, last, None) in found(kept.verify())


def test_a_record_rewritten_with_its_chain_is_found_between_the_seals_around_it(kept: Kept) -> None:
    entry = kept.entries("decision")[0]
    start, early, _ = seals(kept)
    kept.run("UPDATE decisions SET decision = 'deny' WHERE id = ?", entry.ref)
    kept.rewrite(entry.number)
    assert found(kept.verify()) == {("chain_rewritten", start + 1, early, None)}


def test_a_late_record_rewritten_with_its_chain_is_found_after_the_last_good_seal(kept: Kept) -> None:
    _, early, late = seals(kept)
    entry = kept.entries("decision")[-1]
    kept.run("UPDATE decisions SET decision = 'deny' WHERE id = ?", entry.ref)
    kept.rewrite(entry.number)
    kept.run("DELETE FROM seals WHERE number > ?", early)
    assert found(kept.verify()) == {("chain_rewritten", early + 1, late, None)}


def test_a_deletion_with_everything_renumbered_after_it_is_found(kept: Kept) -> None:
    entry = kept.entries("read")[0]
    start, early, late = seals(kept)
    kept.run("DELETE FROM reads WHERE seq = ?", entry.ref)
    kept.run("DELETE FROM chain WHERE number = ?", entry.number)
    with kept.tampering() as connection:
        for number in range(entry.number + 1, late + 1):
            connection.execute("UPDATE chain SET number = ? WHERE number = ?", (number - 1, number))
    kept.rewrite(entry.number)
    assert {("tail_cut", late, late, None), ("chain_rewritten", start + 1, early, None)} <= found(kept.verify())


def test_a_forged_seal_is_found(kept: Kept) -> None:
    _, early, _ = seals(kept)
    kept.run("UPDATE seals SET hash = (SELECT hash FROM chain WHERE number = 1) WHERE number = ?", early)
    assert ("seal_invalid", early) in {(what, number) for what, number, _, _ in found(kept.verify())}


def test_seals_of_a_foreign_key_are_found(kept: Kept) -> None:
    """Somebody rewrites the record and seals it with a key of his own, which he puts in the place of the true one in the database."""
    true = kept.verify().keys[0].key
    foreign = KeyFile(kept.var / "foreign.pem").current()
    entry = kept.entries("decision")[0]
    kept.run("UPDATE decisions SET decision = 'deny' WHERE id = ?", entry.ref)
    kept.rewrite(entry.number)
    kept.run("UPDATE seal_keys SET key = ?, public = ?", foreign.fingerprint, foreign.public)
    with kept.tampering() as connection:
        for number, hash_ in connection.execute("SELECT s.number, c.hash FROM seals s JOIN chain c ON c.number = s.number").fetchall():
            seal = foreign.seal(HOSPITAL, number, hash_)
            connection.execute(
                "UPDATE seals SET key = ?, hash = ?, at = ?, signature = ? WHERE number = ?",
                (seal.key, hash_, seal.at, bytes.fromhex(seal.signature), number),
            )
    told = {(what, ref) for what, _, _, ref in found(kept.verify())}
    assert ("seal_foreign", true) in told  # the head and the log outside the database
    assert ("key_not_vouched", foreign.fingerprint) in {(what, ref) for what, _, _, ref in found(kept.verify(true))}


def test_a_key_slipped_in_without_a_voucher_is_found(kept: Kept) -> None:
    foreign = KeyFile(kept.var / "foreign.pem").current()
    with kept.tampering() as connection:
        connection.execute("INSERT INTO seal_keys (key, public, since) VALUES (?, ?, ?)", (foreign.fingerprint, foreign.public, "2026"))
    assert found(kept.verify()) == {("key_not_vouched", None, None, foreign.fingerprint)}


def test_a_removed_seal_is_found(kept: Kept) -> None:
    _, early, _ = seals(kept)
    kept.run("DELETE FROM seals WHERE number = ?", early)
    assert {(what, number) for what, number, _, _ in found(kept.verify())} == {("seal_removed", early)}


@pytest.mark.parametrize(
    ("harm", "wanted"),
    [
        (lambda kept: (kept.seals / "wahh.head").unlink(), "head_missing"),
        (lambda kept: (kept.seals / "wahh.head").write_bytes(b"{}"), "head_damaged"),
        (lambda kept: (kept.seals / "wahh.jsonl").unlink(), "seal_log_missing"),
        (lambda kept: append(kept.seals / "wahh.jsonl", b"{\n"), "seal_log_damaged"),
        (lambda kept: kept.run("UPDATE overrides SET state = 'justified'"), "override_changed"),
        (lambda kept: kept.run("UPDATE overrides SET reported = 0"), "override_changed"),
        (lambda kept: kept.run("UPDATE overrides SET taken_over_by = '100007'"), "override_changed"),
        (lambda kept: kept.run("UPDATE overrides SET participants = '[]'"), "override_changed"),
        (lambda kept: kept.run("UPDATE overrides SET participants = 'x'"), "override_changed"),
        (lambda kept: kept.run("UPDATE overrides SET reason = 'another one'"), "override_changed"),
        (lambda kept: kept.run("UPDATE overrides SET review_due_at = '2099-01-01T00:00:00.000000+00:00'"), "override_changed"),
        (lambda kept: kept.run("UPDATE overrides SET reminders = 9"), "override_changed"),
        (lambda kept: kept.run("DELETE FROM overrides"), "record_missing"),
    ],
)
def test_what_stands_beside_the_chain_is_looked_at(kept: Kept, harm: Callable[[Kept], object], wanted: str) -> None:
    harm(kept)
    assert {what for what, *_ in found(kept.verify())} == {wanted}


def test_a_head_that_was_put_back_is_found(kept: Kept) -> None:
    _, early, _ = seals(kept)
    first = (kept.seals / f"{HOSPITAL}.jsonl").read_bytes().splitlines()[1]
    head = {name: value for name, value in json.loads(first).items() if name != "hospital"}
    (kept.seals / f"{HOSPITAL}.head").write_text(json.dumps(head))
    assert found(kept.verify()) == {("head_behind", early, early, None)}


def test_the_report_is_bounded(kept: Kept) -> None:
    kept.run("DELETE FROM seals")
    entry = kept.entries("read")[0]
    with kept.tampering() as connection:
        for seq in range(10_000, 10_300):
            connection.execute(
                "INSERT INTO reads SELECT ?, hospital, at, key_id, client, staff, kind, subject, found FROM reads WHERE seq = ?",
                (seq, entry.ref),
            )
    report = kept.verify()
    assert not report.whole
    assert len(report.findings) + report.more >= 200
    assert len(report.findings) == 200


def test_a_rolled_back_folder_shows_against_a_fingerprint_and_an_older_report_only(kept: Kept) -> None:
    """The limit of what one machine can prove, so that nobody is told otherwise: everything put back to an earlier day is a whole record of that day."""
    earlier = kept.var.with_name("earlier")
    shutil.copytree(kept.var, earlier)
    assert Kept(earlier).verify(kept.verify().keys[0].key).whole

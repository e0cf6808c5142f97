"""The journal as two workers of one node share it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.engine.model import Checkpoint
from app.store import journal_file, journal_recent
from app.store.decided import CaseTaken, Earlier, NotRecorded, RequestKey, case_history
from app.store.journal import Journal, segments
from app.store.journal_file import JournalFile, Kind, framed
from app.store.journal_index import NOTHING_FOUND
from tests.store.records import HOSPITAL, a_record, an_opening

pytestmark = pytest.mark.anyio

SIZE = 1 << 12


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for journals whose files hold some twenty decisions."""
    monkeypatch.setattr(journal_file, "SEGMENT_BYTES", SIZE)
    return tmp_path / "journal"


@pytest.fixture
async def one(folder: Path) -> AsyncIterator[Journal]:
    made = Journal(folder)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def other(folder: Path, one: Journal) -> AsyncIterator[Journal]:
    made = Journal(folder)
    await made.open()
    yield made
    await made.close()


async def test_what_one_appends_the_other_knows(one: Journal, other: Journal) -> None:
    assert not await other.holds()
    first = a_record("R1")
    assert await one.append([first], doubtful=False) == {}
    assert await other.holds()
    found = await other.find([first.key], [(HOSPITAL, first.case_id)], recent=False)
    assert found.earlier[first.key].earlier == Earlier(first.content, first.answer)
    assert [judged.id for judged in found.journaled[HOSPITAL, first.case_id]] == [first.id]


async def test_a_request_is_one_decision_on_the_node(one: Journal, other: Journal) -> None:
    first, second = a_record("R1"), a_record("R1", id="d-second", answer=b"second")
    refused = await asyncio.gather(one.append([first], doubtful=False), other.append([second], doubtful=False))
    answers = [told for told in refused if told]
    assert len(answers) == 1
    assert list(answers[0].values()) in ([Earlier(first.content, first.answer)], [Earlier(second.content, second.answer)])
    assert await one.append([a_record("R2"), a_record("R2", id="d-third")], doubtful=False) == {
        "d-third": Earlier(a_record("R2").content, a_record("R2").answer)
    }


async def test_the_first_of_a_case_for_another_patient_is_to_be_judged_again(one: Journal, other: Journal) -> None:
    await one.append([a_record("R1", case_id="C")], doubtful=False)
    refused = await other.append([a_record("R2", case_id="C", patient_id="P-2")], doubtful=False)
    assert isinstance(refused["d-R2"], CaseTaken)
    assert await other.append([a_record("R2", case_id="C", patient_id="P-2", new_case=False)], doubtful=False) == {}
    found = await one.find([], [(HOSPITAL, "C")], recent=False)
    history = case_history((), found.journaled[HOSPITAL, "C"])
    assert history is not None
    assert (history.patient_id, [past.checkpoint for past in history.decisions]) == ("P-1", [Checkpoint.ORDER])


async def test_equal_ids_of_two_hospitals_are_two_things(one: Journal, other: Journal) -> None:
    mine = a_record("R", case_id="C", patient_id="P-1")
    others = a_record("R", id="d-other", key=RequestKey("other", "his", "R"), case_id="C", patient_id="P-2", answer=b"others")
    assert await one.append([mine], doubtful=False) == {}
    assert await other.append([others], doubtful=False) == {}
    for record in (mine, others):
        case = (record.key.hospital, "C")
        found = await one.find([record.key], [case], recent=False)
        assert {key: known.earlier for key, known in found.earlier.items()} == {record.key: Earlier(record.content, record.answer)}
        assert {of: [judged.id for judged in journaled] for of, journaled in found.journaled.items()} == {case: [record.id]}


async def test_it_goes_on_over_many_files_and_a_restart(one: Journal, other: Journal, folder: Path) -> None:
    records = [a_record(f"R{number}") for number in range(100)]
    for record in records[:50]:
        await one.append([record], doubtful=False)
    await other.append(records[50:], doubtful=False)
    assert len(segments(folder)) > 3
    third = Journal(folder)
    await third.open()
    for journal in (one, other, third):
        assert await journal.holds()
        assert journal.waiting == 100
        found = await journal.find([record.key for record in records], [], recent=False)
        assert [found.earlier[record.key].id for record in records] == [record.id for record in records]
    await third.close()


async def test_what_came_to_the_database_is_known_when_it_is_away(one: Journal, other: Journal) -> None:
    record = a_record("R1", opening=an_opening("R1"))
    assert await one.note([record]) == {}
    assert not await other.holds()
    assert await other.find([record.key], [], recent=False) == NOTHING_FOUND
    found = await other.find([record.key], [(HOSPITAL, record.case_id)], recent=True)
    assert found.earlier[record.key].answer == record.answer
    assert [judged.id for judged in found.recent[HOSPITAL, record.case_id]] == [record.id]
    await one.note([a_record("R2")])
    assert a_record("R2").key in (await other.find([a_record("R2").key], [], recent=True)).earlier


async def test_the_memory_of_what_was_committed_is_bounded(one: Journal, other: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_recent, "RECENT_BYTES", 4096)
    for number in range(40):
        await (one if number % 2 else other).note([a_record(f"R{number}")])
    total = sum((one.folder / name).stat().st_size for name in ("recent.0", "recent.1"))
    assert total < 3 * 4096
    found = await one.find([a_record(f"R{number}").key for number in range(40)], [], recent=True)
    known = sorted(int(kept.id.removeprefix("d-R")) for kept in found.earlier.values())
    assert len(known) >= 8
    assert known == list(range(known[0], 40))


async def test_what_another_worker_journaled_meanwhile_counts(one: Journal, other: Journal) -> None:
    journaled, committed = a_record("R1"), a_record("R1", id="d-committed", answer=b"committed")
    await one.append([journaled], doubtful=False)
    assert await other.note([committed, a_record("R2")]) == {"d-committed": Earlier(journaled.content, journaled.answer)}
    await one.holds()
    assert one.voids("d-committed")
    assert not one.voids("d-R2")


async def test_what_was_committed_by_another_worker_counts_against_the_journal(one: Journal, other: Journal) -> None:
    await other.note([a_record("R1")])
    refused = await one.append([a_record("R1", id="d-late")], doubtful=True)
    assert refused == {"d-late": Earlier(a_record("R1").content, a_record("R1").answer)}
    await other.holds()
    assert other.voids("d-late")


async def test_a_torn_record_is_cut_off_and_told(one: Journal, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    await one.append([a_record("R1")], doubtful=False)
    path = next(iter(segments(folder).values()))
    file = JournalFile.open(path)
    end = list(file.frames())[-1].end
    file.write(end, framed(Kind.RECORD, bytes(500))[:300] + b"x")
    file.close()
    assert await one.append([a_record("R2")], doubtful=False) == {}
    assert "cut off" in caplog.text
    again = Journal(folder)
    await again.open()
    assert again.waiting == 2
    await again.close()


async def test_a_damaged_record_does_not_hide_the_others(one: Journal, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    await one.append([a_record("R1"), a_record("R2"), a_record("R3")], doubtful=False)
    file = JournalFile.open(next(iter(segments(folder).values())))
    second = list(file.frames())[1]
    file.write(second.begin + 20, b"\xff")
    file.close()
    again = Journal(folder)
    await again.open()
    assert again.waiting == 2
    assert "damaged bytes" in caplog.text
    await again.close()


async def test_a_full_disk_takes_what_room_was_given_and_emergencies_last(one: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    kept, number = 0, 0
    while True:
        refused = await one.append([a_record(f"R{number}")], doubtful=False)
        number += 1
        if refused:
            assert isinstance(refused[f"d-R{number - 1}"], NotRecorded)
            break
        kept += 1
    assert kept > 20  # two files
    emergencies = 0
    while not await one.append([a_record(f"E{emergencies}", emergency=True)], doubtful=False):
        emergencies += 1
    assert emergencies > 8
    assert await one.append([a_record("late")], doubtful=False)
    monkeypatch.undo()
    assert not await one.append([a_record("after")], doubtful=False)
    again = Journal(one.folder)
    await again.open()
    assert again.waiting == kept + emergencies + 1
    await again.close()


async def test_what_is_not_on_stable_storage_is_not_kept(one: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    await one.append([a_record("R1")], doubtful=False)

    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        refused = await one.append([a_record("R2")], doubtful=False)
    assert isinstance(refused["d-R2"], NotRecorded)
    found = await one.find([a_record("R1").key, a_record("R2").key], [], recent=False)
    assert list(found.earlier) == [a_record("R1").key]
    assert not await one.append([a_record("R2")], doubtful=False)


async def test_only_its_owner_reads_it(one: Journal) -> None:
    await one.append([a_record("R1")], doubtful=False)
    await one.note([a_record("R2")])
    for path in (one.folder, *one.folder.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path

"""The journal's files: what was written is read again; what was torn is told from what was damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.store import journal_file
from app.store.journal_file import END, Damage, Frame, JournalFile, Kind, framed

SIZE = 1 << 16
CONTENTS = (b"first", b"", b"x" * 5000, bytes(range(256)))


@pytest.fixture(autouse=True)
def _size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "SEGMENT_BYTES", SIZE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "1.segment"
    JournalFile.make(made)
    return made


@pytest.fixture
def file(path: Path) -> Iterator[JournalFile]:
    made = JournalFile.open(path)
    yield made
    made.close()


def put(file: JournalFile, *contents: bytes, at: int = 0) -> int:
    for content in contents:
        frame = framed(Kind.RECORD, content)
        file.write(at, frame)
        at += len(frame)
    file.sync()
    return at


def read(file: JournalFile) -> list[bytes | Damage]:
    return [found.content if isinstance(found, Frame) else found for found in file.frames()]


def test_its_room_is_given_when_it_is_made_and_only_its_owner_reads_it(path: Path) -> None:
    told = path.stat()
    assert told.st_size == SIZE
    assert told.st_blocks * 512 >= SIZE
    assert told.st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_where_there_is_no_room_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        JournalFile.make(tmp_path / "spare")
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_is_read_in_its_order(file: JournalFile) -> None:
    assert read(file) == []
    end = put(file, *CONTENTS)
    assert read(file) == list(CONTENTS)
    assert file.frame(end) is None
    assert not file.begins(end)
    file.write(end, END)
    found = file.frame(end)
    assert isinstance(found, Frame)
    assert found.kind is Kind.END


@pytest.mark.parametrize("kept", range(1, len(framed(Kind.RECORD, b"a torn record"))))
def test_a_record_cut_short_anywhere_is_torn_and_goes(file: JournalFile, kept: int) -> None:
    end = put(file, b"whole")
    file.write(end, framed(Kind.RECORD, b"a torn record")[:kept])
    found = file.frame(end)
    assert isinstance(found, Damage)
    assert (found.begin, found.torn) == (end, True)
    file.clear(found.begin, found.end)
    put(file, b"next", at=end)
    assert read(file) == [b"whole", b"next"]


def test_blocks_written_without_the_first_are_found(file: JournalFile) -> None:
    end = put(file, b"whole")
    file.write(end + 4096, b"the second block of a record")
    assert file.frame(end) is None
    found = file.leftover(end)
    assert found == Damage(end, end + 4096 + len(b"the second block of a record"), torn=True)


@pytest.mark.parametrize("place", [0, 4, 8, 12, 14])
def test_a_damaged_record_does_not_hide_those_behind_it(file: JournalFile, place: int) -> None:
    first = put(file, b"first")
    second = put(file, b"SGJ second", at=first)
    put(file, b"third", at=second)
    file.write(first + place, bytes([file.read(first + place, first + place + 1)[0] ^ 0x41]))
    assert read(file) == [b"first", Damage(first, second, torn=False), b"third"]


def test_a_length_beyond_the_file_is_damage(file: JournalFile) -> None:
    file.write(0, b"SGJR" + (SIZE * 2).to_bytes(4, "little") + bytes(4) + b"x")
    assert read(file) == [Damage(0, 13, torn=True)]

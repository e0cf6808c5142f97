"""The snapshot's files: what is read is what was written, or nothing."""

from __future__ import annotations

import fcntl
import os
import random
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from app.cache import snapshot as module
from app.cache.snapshot import MAX_FUTURE, Held, HeldHospital, Index, Snapshot, Unusable
from app.engine.model import Person
from app.store import hospitals
from app.store.keys import Key, Role
from tests.properties.hospitals import random_world

AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
KEY = Key("k1", "H1", "his", frozenset({Role.HIS}), None, "2026-03-01T00:00:00+00:00", None, b"\x00salt", b"\xffhash")


def held(version: int = 7, at: datetime = AT, seed: int = 1, code: str = "H1") -> Held:
    """What a worker holds of one made-up hospital."""
    world = random_world(seed)
    hospital = replace(world.hospital, code=code, time_zone=ZoneInfo(str(world.hospital.time_zone)))
    settings = hospitals.Settings(policy=hospital.policy, notify=({"kind": "webhook"},), retention_years=30)
    loaded = hospitals.Loaded(hospitals.Itself(hospital, settings), dict(world.people or {}), version)
    return Held(0, version, f"the instant of {version}", (KEY,), (HeldHospital(loaded, at),))


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """One that writes whenever it is asked."""
    monkeypatch.setattr(module, "MAX_WRITING_SHARE", 1e12)
    return Snapshot(tmp_path / "snapshot")


def read(snapshot: Snapshot, code: str = "H1") -> HeldHospital:
    index = snapshot.index()
    assert index is not None
    return snapshot.hospital(index, code)


def file_of(snapshot: Snapshot, code: str = "H1") -> Path:
    return snapshot.folder / f"{code}.hospital"


@pytest.mark.parametrize("seed", range(40))
def test_what_is_read_is_what_was_written(snapshot: Snapshot, seed: int) -> None:
    made = held(seed=seed)
    assert snapshot.keep(made)
    assert read(snapshot) == made.hospitals[0]
    index = snapshot.index()
    assert index is not None
    assert (index.seq, index.mark, index.keys) == (made.seq, made.mark, made.keys)


def test_equal_values_are_one_object_as_they_are_where_the_database_was_read(snapshot: Snapshot) -> None:
    made = held(seed=3)
    assert snapshot.keep(made)
    days: dict[object, object] = {}
    for person in read(snapshot).loaded.people.values():
        for grant in person.grants:
            for value in (grant.staff, grant.scope, grant.valid_from, grant.department):
                assert days.setdefault(value, value) is value


def test_there_is_none_before_one_was_written(snapshot: Snapshot) -> None:
    assert snapshot.index() is None
    assert snapshot.survey() == ((), {}, ())


@pytest.mark.parametrize("name", ["index", "H1.hospital"])
def test_a_damaged_file_is_refused_wherever_it_is_damaged(snapshot: Snapshot, name: str) -> None:
    assert snapshot.keep(held())
    path = snapshot.folder / name
    content = path.read_bytes()
    chance = random.Random(5)
    places = {0, len(content) - 1, *(chance.randrange(len(content)) for _ in range(200))}
    damaged = [content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :] for place in places]
    damaged += [content[:place] for place in places] + [content + b"\0", b""]
    for one in damaged:
        path.write_bytes(one)
        with pytest.raises(Unusable):
            read(snapshot)
        survey = snapshot.survey()
        assert not survey.as_of
        assert survey.refused
    path.write_bytes(content)
    assert read(snapshot).loaded.version == 7


def test_a_damaged_index_is_written_anew_with_every_file(snapshot: Snapshot) -> None:
    assert snapshot.keep(held())
    (snapshot.folder / "index").write_bytes(b"no")
    file_of(snapshot).write_bytes(b"no")
    assert snapshot.keep(held())
    assert read(snapshot) == held().hospitals[0]


def test_what_is_from_the_future_is_refused(snapshot: Snapshot) -> None:
    now = datetime.now(UTC)
    assert snapshot.keep(held(at=now + MAX_FUTURE * 2))
    with pytest.raises(Unusable, match="future"):
        read(snapshot)
    assert snapshot.keep(held(8, now + MAX_FUTURE / 2))
    assert read(snapshot).loaded.version == 8


def test_another_hospitals_file_is_refused(snapshot: Snapshot) -> None:
    one, other = held(), held(code="H2", seed=2)
    assert snapshot.keep(one._replace(hospitals=(*one.hospitals, *other.hospitals)))
    file_of(snapshot, "H2").write_bytes(file_of(snapshot).read_bytes())
    assert read(snapshot).loaded.version == 7
    with pytest.raises(Unusable, match="another hospital"):
        read(snapshot, "H2")
    assert list(snapshot.survey().as_of) == ["H1"]


def test_a_file_that_fell_behind_is_as_old_as_it_says(snapshot: Snapshot) -> None:
    """An older file under an index that says of a newer one when it was in force."""
    assert snapshot.keep(held(7, AT))
    older = file_of(snapshot).read_bytes()
    assert snapshot.keep(held(8, AT + timedelta(hours=5)))
    assert read(snapshot).as_of == AT + timedelta(hours=5)
    file_of(snapshot).write_bytes(older)
    assert (read(snapshot).as_of, read(snapshot).loaded.version) == (AT, 7)


def test_what_did_not_change_is_confirmed_and_not_written_again(snapshot: Snapshot) -> None:
    assert snapshot.keep(held(7, AT))
    file, index = file_of(snapshot).stat(), (snapshot.folder / "index").stat()
    assert snapshot.keep(held(7, AT + timedelta(seconds=1)))
    assert (snapshot.folder / "index").stat() == index
    assert snapshot.keep(held(7, AT + timedelta(seconds=60)))
    assert file_of(snapshot).stat() == file
    assert read(snapshot).as_of == AT + timedelta(seconds=60)


def test_a_key_that_was_revoked_is_written_at_once(snapshot: Snapshot) -> None:
    assert snapshot.keep(held())
    revoked = replace(KEY, revoked_at="2026-03-02T00:00:00+00:00")
    assert snapshot.keep(held()._replace(seq=8, keys=(revoked,)))
    index = snapshot.index()
    assert index is not None
    assert index.keys == (revoked,)


def test_nothing_newer_is_overwritten_by_a_worker_that_is_behind(snapshot: Snapshot) -> None:
    later = AT + timedelta(minutes=1)
    assert snapshot.keep(held(8, later, seed=2))
    assert snapshot.keep(held(7, AT))
    assert read(snapshot) == held(8, later, seed=2).hospitals[0]
    index = snapshot.index()
    assert index is not None
    assert index.seq == 8


def test_versions_of_another_log_are_not_compared(snapshot: Snapshot) -> None:
    """After a restore a version's number comes again for something else; and a worker that has not seen it yet writes nothing."""
    assert snapshot.keep(held(8, AT, seed=2))
    restored = held(8, AT, seed=1)._replace(generation=1)
    assert snapshot.keep(restored)
    assert read(snapshot) == restored.hospitals[0]
    assert snapshot.keep(held(9, AT, seed=2))
    assert read(snapshot) == restored.hospitals[0]
    older = held(7, AT, seed=3)._replace(generation=2)
    assert snapshot.keep(older)
    assert read(snapshot) == older.hospitals[0]


def test_a_large_hospital_that_changes_all_the_time_is_not_written_all_the_time(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert snapshot.keep(held(7, AT))
    monkeypatch.setattr(module, "MAX_WRITING_SHARE", 0.0)
    assert snapshot.keep(held(8, AT + timedelta(hours=1)))
    assert (read(snapshot).loaded.version, read(snapshot).as_of) == (7, AT)
    monkeypatch.setattr(module, "MAX_WRITING_SHARE", 1e12)
    assert snapshot.keep(held(8, AT + timedelta(hours=1)))
    assert read(snapshot).loaded.version == 8


def test_a_file_that_is_gone_is_written_again(snapshot: Snapshot) -> None:
    assert snapshot.keep(held())
    file_of(snapshot).unlink()
    assert snapshot.keep(held())
    assert read(snapshot) == held().hospitals[0]


def test_a_file_that_was_damaged_on_the_disk_is_written_again(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a worker that starts, and by one that runs for long."""
    assert snapshot.keep(held())
    for worker, verify in ((Snapshot(snapshot.folder), module.VERIFY_SECONDS), (snapshot, -1.0)):
        file_of(snapshot).write_bytes(file_of(snapshot).read_bytes()[:-1])
        monkeypatch.setattr(module, "VERIFY_SECONDS", verify)
        assert worker.keep(held())
        assert read(snapshot) == held().hospitals[0]


def test_a_disk_that_is_full_leaves_what_was_there(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    assert snapshot.keep(held(7))
    there = set(snapshot.folder.iterdir())
    written = 0

    def full(pieces: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal written
        for piece in pieces:
            written += 1
            if written == 4:
                raise OSError(28, "No space left on device")
            yield piece

    put = module._put
    monkeypatch.setattr(module, "_put", lambda path, pieces: put(path, full(iter(pieces))))
    with pytest.raises(OSError, match="No space"):
        snapshot.keep(held(8))
    assert set(snapshot.folder.iterdir()) == there
    assert read(snapshot) == held(7).hospitals[0]


def test_one_worker_at_a_time_writes(snapshot: Snapshot) -> None:
    assert snapshot.keep(held(7))
    other = os.open(snapshot.folder / "lock", os.O_WRONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        assert not snapshot.keep(held(8))
    finally:
        os.close(other)
    assert read(snapshot).loaded.version == 7


def test_nobody_else_may_read_it(snapshot: Snapshot) -> None:
    mask = os.umask(0)
    try:
        assert snapshot.keep(held())
    finally:
        os.umask(mask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (snapshot.folder, *snapshot.folder.iterdir())}
    assert modes == {"snapshot": 0o700, "index": 0o600, "H1.hospital": 0o600, "lock": 0o600}


def test_what_another_release_wrote_is_refused(snapshot: Snapshot) -> None:
    """Its checksum is right, and what it holds is not what this release knows."""
    assert snapshot.keep(held())
    piece = module._encode(Index(0, 1, None, (), {})) + b"\xc0"
    module._put(snapshot.folder / "index", [piece])
    with pytest.raises(Unusable, match="another release"):
        snapshot.index()
    module._put(file_of(snapshot), [b"\xc0"] * 3)
    with pytest.raises(Unusable, match="another release"):
        snapshot.hospital(Index(0, 1, None, (), {"H1": module.Written(7, AT, AT, 0.0)}), "H1")


def test_a_file_of_another_layout_is_refused_though_all_of_it_could_be_read(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an older release did not write would be filled with a default: a restriction that nobody knows of."""
    with monkeypatch.context() as patched:
        patched.setattr(module, "MAGIC", module.KIND + b"1 0123456789abcdef\n")
        assert snapshot.keep(held())
        assert read(snapshot) == held().hospitals[0]
    with pytest.raises(Unusable, match="another release"):
        snapshot.index()
    survey = snapshot.survey()
    assert (survey.keys, survey.as_of) == ((), {})
    assert "another release" in survey.refused[0]
    assert snapshot.keep(held())
    assert read(snapshot) == held().hospitals[0]


def test_a_person_without_anything_is_kept_too(snapshot: Snapshot) -> None:
    made = held()
    one = made.hospitals[0]
    person = next(iter(one.loaded.people.values()))
    bare = {person.staff.staff: Person(person.staff)}
    assert snapshot.keep(made._replace(hospitals=(one._replace(loaded=one.loaded._replace(people=bare)),)))
    assert read(snapshot).loaded.people == bare

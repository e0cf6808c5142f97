"""The snapshot: what the workers of this node judge by, on its disk, for the time when the database cannot be reached.

`CODE.hospital` holds a hospital with its people and the version they are at; `index` the keys, up to where the change log was looked at, and of
each hospital which version was in force when. A hospital's file is written when its version has moved; the index every few seconds, so that what
did not change does not grow old. Each is written aside and put in place whole, and ends with a SHA-256 over all that stands before it: one that is
damaged is refused, never read in part.

An instant in the index counts for a hospital's file only where both name the same version. A file that fell behind (its disk was full, the
machine died) is as old as it says itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec.structs import astuple, replace

from app.cache.layout import digest
from app.engine.model import Hospital, Person
from app.store import hospitals
from app.store.keys import Key

INDEX = "index"
LENGTH_BYTES = 4

CONFIRM_SECONDS = 5.0
"""How often the index is written though nothing has changed."""

MAX_WRITING_SHARE = 0.1
"""Of the time that a hospital's file may take to be written: a large one that changes all the time is written every ten seconds or so."""

VERIFY_SECONDS = 3600.0
"""How often a file that need not be written is read again, so that one that was damaged on the disk is written anew before it is needed."""

MAX_FUTURE = timedelta(minutes=1)
"""What a clock may have been set back by. What claims to be younger is refused: nobody can tell how old it is."""

_Value = TypeVar("_Value")


class Unusable(Exception):
    """A file of the snapshot is not there, damaged, of another release, or from the future. The text says which."""


class Written(msgspec.Struct, frozen=True):
    """What the index says of a hospital: `version` was in force at `as_of`; `seconds`: what it took to write its file, at `at`."""

    version: int
    as_of: datetime
    at: datetime
    seconds: float


class Index(msgspec.Struct, frozen=True):
    """`seq` is the number of the last change that was known, `mark` the instant of it: a log without both is not the one that was followed.
    `generation`: how often that has happened; versions of one generation say nothing of those of another."""

    generation: int
    seq: int
    mark: str | None
    keys: tuple[Key, ...]
    hospitals: dict[str, Written]


class HeldHospital(NamedTuple):
    """A hospital as a worker holds it, or as it was kept: `loaded` was in force at `as_of`."""

    loaded: hospitals.Loaded
    as_of: datetime


class Held(NamedTuple):
    """Everything that a worker holds, at one look at the log. `generation`, `seq` and `mark` as in `Index`."""

    generation: int
    seq: int
    mark: str | None
    keys: tuple[Key, ...]
    hospitals: tuple[HeldHospital, ...]


class Survey(NamedTuple):
    """What of a snapshot can be used: the keys, of each hospital since when nothing is known of it; and what is refused, and why."""

    keys: tuple[Key, ...]
    as_of: dict[str, datetime]
    refused: tuple[str, ...]


class _Head(msgspec.Struct, frozen=True):
    code: str
    version: int
    as_of: datetime


KIND = b"surgate snapshot "
MAGIC = KIND + f"1 {digest(Index, _Head, Hospital, hospitals.Settings, Person)}\n".encode()
"""How a file begins. One whose values are of another layout is of another release, and refused: what it does not say may be what restricts. The number is
raised by hand where fields that stay as they are come to mean something else."""


class Snapshot:
    """The folder. Everything in it is the service's own: nobody else may read it. Its methods block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._verified: dict[str, float] = {}

    def index(self) -> Index | None:
        """The index, None where there is none. Raises `Unusable`."""
        path = self.folder / INDEX
        if not path.exists():
            return None
        (content,) = _read(path)
        return _decoded(path, content, Index)

    def hospital(self, index: Index, code: str) -> HeldHospital:
        """A hospital as it was kept. Raises `Unusable`."""
        path = self._file(code)
        head, (hospital, settings, *people) = self._opened(index, code)
        itself = hospitals.Itself(_decoded(path, hospital, Hospital), _decoded(path, settings, hospitals.Settings))
        rows = {person.staff.staff: person for person in _people(path, people)}
        return HeldHospital(hospitals.Loaded(itself, rows, head.version), head.as_of)

    def survey(self) -> Survey:
        """What could be started from, without reading the people."""
        try:
            index = self.index()
        except Unusable as error:
            return Survey((), {}, (str(error),))
        if index is None:
            return Survey((), {}, ())
        found, refused = {}, []
        for code in index.hospitals:
            try:
                found[code] = self._opened(index, code)[0].as_of
            except Unusable as error:
                refused.append(str(error))
        return Survey(index.keys, found, tuple(refused))

    def keep(self, held: Held) -> bool:
        """Write what is newer than what is there; False where another worker of this node is at it. Raises `OSError`."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone() as mine:
            if mine:
                self._keep(held)
        return mine

    def _opened(self, index: Index, code: str) -> tuple[_Head, Sequence[bytes]]:
        """A hospital's file: its head, `as_of` the latest instant at which it is known to have been in force, and the other pieces."""
        path = self._file(code)
        first, *pieces = _read(path)
        head, kept = _decoded(path, first, _Head), index.hospitals[code]
        if head.code != code:
            raise Unusable(f"{path.name}: of another hospital")
        if kept.version == head.version:
            head = replace(head, as_of=kept.as_of)
        if head.as_of > datetime.now(UTC) + MAX_FUTURE:
            raise Unusable(f"{path.name}: from the future ({head.as_of.isoformat(timespec='seconds')})")
        return head, pieces

    def _keep(self, held: Held) -> None:
        before = self._known()
        if before is not None and before.generation > held.generation:
            return  # this worker follows a log that is not the database's any more, and has not seen it yet
        if before is not None and before.generation < held.generation:
            before = None
        mine = Index(held.generation, held.seq, held.mark, held.keys, {})
        newest = before if before is not None and before.seq > held.seq else mine
        kept = dict(before.hospitals) if before is not None else {}
        for one in held.hospitals:
            code = one.loaded.itself.hospital.code
            kept[code] = self._kept(one, kept.get(code))
        after = replace(newest, hospitals=kept)
        if before is None or _moved(before, after):
            _put(self.folder / INDEX, [_encode(after)])

    def _kept(self, one: HeldHospital, known: Written | None) -> Written:
        """What the index is to say of a hospital, its file written where it is time."""
        version = one.loaded.version
        itself = one.loaded.itself
        code = itself.hospital.code
        if known is not None and self._is_sound(code):
            if known.version == version:
                return replace(known, as_of=max(known.as_of, one.as_of))
            if known.version > version or not _is_time(known):  # another worker is ahead of this one, or it is too soon
                return known
        began = time.monotonic()
        head = _Head(code, version, one.as_of)
        pieces = (_encode(value) for value in (head, itself.hospital, itself.settings, *one.loaded.people.values()))
        _put(self._file(code), pieces)
        self._verified[code] = time.monotonic()
        return Written(version, one.as_of, datetime.now(UTC), time.monotonic() - began)

    def _is_sound(self, code: str) -> bool:
        path, now = self._file(code), time.monotonic()
        if now - self._verified.get(code, -math.inf) < VERIFY_SECONDS:
            return path.exists()
        try:
            _read(path)
        except Unusable:
            return False
        self._verified[code] = now
        return True

    def _known(self) -> Index | None:
        try:
            return self.index()
        except Unusable:
            return None  # it is written anew, with every file

    def _file(self, code: str) -> Path:
        return self.folder / f"{code}.hospital"

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        descriptor = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)


def _moved(before: Index, after: Index) -> bool:
    """Whether the index has more to say than that everything is as it was a moment ago."""
    if replace(before, hospitals={}) != replace(after, hospitals={}) or before.hospitals.keys() != after.hospitals.keys():
        return True
    pairs = [(before.hospitals[code], now) for code, now in after.hospitals.items()]
    return any(was.version != now.version or (now.as_of - was.as_of).total_seconds() >= CONFIRM_SECONDS for was, now in pairs)


def _is_time(known: Written) -> bool:
    """Whether a hospital's file may be written again. A clock that was set back holds nothing up."""
    since = (datetime.now(UTC) - known.at).total_seconds()
    return since < 0 or since * MAX_WRITING_SHARE >= known.seconds


def _people(path: Path, pieces: Iterable[bytes]) -> Iterator[Person]:
    """The people, equal texts and days one object in memory, as they are where the database was read."""
    values = hospitals.Values()
    for piece in pieces:
        person = _decoded(path, piece, Person)
        yield Person(
            person.staff,
            tuple([values.grant(astuple(grant)) for grant in person.grants]),
            tuple([values.credential(astuple(credential)) for credential in person.credentials]),
            tuple([values.volume(astuple(volume)) for volume in person.volumes]),
            person.duty,
        )


def _encode(value: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(value, enc_hook=str)  # a time zone is the one thing that is not of the format's kinds


def _decoded(path: Path, piece: bytes, kind: type[_Value]) -> _Value:
    try:
        return msgspec.msgpack.decode(piece, type=kind, dec_hook=_zone)
    except (msgspec.DecodeError, ValueError) as error:
        # Its checksum was right: another release wrote it. The error's text could hold what it is about.
        raise Unusable(f"{path.name}: of another release ({type(error).__name__})") from None


def _zone(kind: type[Any], name: object) -> tzinfo:
    assert kind is tzinfo
    return ZoneInfo(str(name))


def _put(path: Path, pieces: Iterable[bytes]) -> None:
    """Put a file in place whole and on stable storage. Piece by piece: the loop of this process goes on meanwhile."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    made.unlink(missing_ok=True)
    digest = hashlib.sha256(MAGIC)
    try:
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(MAGIC)
            for piece in pieces:
                framed = len(piece).to_bytes(LENGTH_BYTES, "big") + piece
                digest.update(framed)
                stream.write(framed)
            stream.write(digest.digest())
            stream.flush()
            os.fsync(stream.fileno())
        made.replace(path)
    except BaseException:
        made.unlink(missing_ok=True)  # on a full disk it would take the room that others need
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> Sequence[bytes]:
    """The pieces of a file. Raises `Unusable`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unusable(f"{path.name}: {type(error).__name__}") from None
    end = len(content) - hashlib.sha256().digest_size
    if not content.startswith(KIND) or end < len(KIND) or hashlib.sha256(memoryview(content)[:end]).digest() != content[end:]:
        raise Unusable(f"{path.name}: damaged")
    if not content.startswith(MAGIC):
        raise Unusable(f"{path.name}: of another release (another layout)")
    pieces, at = [], len(MAGIC)
    while at < end:
        length = int.from_bytes(content[at : at + LENGTH_BYTES], "big")
        at += LENGTH_BYTES
        pieces.append(content[at : at + length])
        at += length
    return pieces

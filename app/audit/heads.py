"""What is kept of the chain outside the database, in a folder of its own: of each hospital the signed head and the log of its seals.

`HOSPITAL.head` holds where the chain stood after the last commit, in one record that is written in place: a process killed while it writes
leaves the old one or the new one. It is not synced, since the database is: after a loss of power it may be older than the chain, never newer,
and never older than the last seal, before which it is synced. `HOSPITAL.jsonl` holds the seals, one line each, synced, and a line for whatever
was seen that should not have happened. Who cuts off or rewrites the end of the chain in the database does not reach these.

The lock is taken after the write lock of the database or without it, never before.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from app.audit.keyfile import KeyFile, SealKeyUnusable
from app.audit.seal import Seal, SealKey, instant
from app.store.database import Head
from app.telemetry.meters import Meters

RECORD_BYTES = 512
"""Size of the record in a file of a head: no more than the smallest block that a disk writes whole."""

HEAD_NOT_WRITTEN = "head not written"
NOT_SEALED = "not sealed"

_log = logging.getLogger("surgate.audit")


class Kept(msgspec.Struct, frozen=True):
    """The record in a file of a head; what a `Seal` has beside the hospital."""

    number: int
    hash: str
    at: str
    key: str
    signature: str


class Seen(msgspec.Struct, frozen=True):
    """A line of the seals' log that is no seal. `event`: head_missing, head_damaged, head_gone_back or chain_differs, seen when the entries
    up to `number` were appended after entry `follows`."""

    event: str
    hospital: str
    number: int
    follows: int
    at: str


class Line(NamedTuple):
    """A line of the seals' log: a seal, something seen, or neither where the line is damaged."""

    seal: Seal | None
    seen: Seen | None


class DamagedHead(Exception):
    """The file of a head does not hold one."""


class Heads:
    """The folder of heads and seals, and the key that signs them."""

    def __init__(self, folder: Path, key_file: KeyFile, meters: Meters | None = None) -> None:
        self.folder = folder
        self.key_file = key_file
        self._failing: dict[str, str] = {}
        self._meters = meters or Meters()
        self._written: dict[str, int] = {}
        self._lock_file = str(folder / "lock")
        self._head_files: dict[str, Path] = {}

    def note(self, head: Head) -> None:
        """Take down a head after its transaction was committed. What was committed stays so: a failure is counted, logged, shown by `/readyz`."""
        try:
            self.write(head)
        except (OSError, SealKeyUnusable) as error:
            self.failed(HEAD_NOT_WRITTEN, error)
        else:
            self.succeeded(HEAD_NOT_WRITTEN)

    @property
    def failing(self) -> str:
        """What cannot be done at present; empty where all is well."""
        return "; ".join(self._failing.values())

    def succeeded(self, what: str) -> None:
        """What had failed is done."""
        self._failing.pop(what, None)

    def failed(self, what: str, error: Exception) -> None:
        """Make a failure to prove known."""
        self._failing[what] = f"{what}: {type(error).__name__}"
        self._meters.seal_failures.add()
        _log.error(what, extra={"error": type(error).__name__, "folder": str(self.folder)})

    def write(self, head: Head) -> None:
        """Sign a head and put it in its file, unless a later one is there. Raises `OSError`, `SealKeyUnusable`."""
        with self.locked():
            known = self._known(head)
            if known is not None and known.number >= head.number:
                self._written[head.hospital] = known.number  # another worker's, committed after this one
                return
            self._compare(head, known)
            self._put(self.key_file.current().seal(head.hospital, head.number, head.hash))
        self._meters.chain_number(head.hospital, head.number)

    def sign_again(self, key: SealKey) -> None:
        """Put a signature by that key into every file. The caller holds the lock. Raises `OSError`."""
        for hospital in self.hospitals():
            try:
                known = self.read(hospital)
            except DamagedHead:
                continue  # the next head that is written tells of it
            if known is not None:
                self._put(key.seal(hospital, known.number, bytes.fromhex(known.hash)))

    def read(self, hospital: str) -> Seal | None:
        """The head that is kept, None where there is none. Raises `DamagedHead`, `OSError`."""
        try:
            content = self._head_file(hospital).read_bytes()
        except FileNotFoundError:
            return None
        try:
            kept = msgspec.json.decode(content, type=Kept)
            bytes.fromhex(kept.hash)
        except (msgspec.DecodeError, ValueError):
            raise DamagedHead(hospital) from None
        return Seal(hospital, kept.number, kept.hash, kept.at, kept.key, kept.signature)

    def hospitals(self) -> list[str]:
        """Those of which anything is kept."""
        return sorted({file.stem for pattern in ("*.head", "*.jsonl") for file in self.folder.glob(pattern)})

    def sync(self, hospital: str) -> None:
        """Put the head on stable storage. Raises `OSError`."""
        descriptor = os.open(self._head_file(hospital), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def log_seal(self, seal: Seal) -> bool:
        """Append a seal to the log, on stable storage when this returns; False where it holds a later one already. Raises `OSError`."""
        self.sync(seal.hospital)
        with self._log_file(seal.hospital).open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            last = self.last_logged(seal.hospital)
            if last is not None and (last.number > seal.number or (last.number, last.key) == (seal.number, seal.key)):
                return False
            _append(stream, seal)
        return True

    def last_logged(self, hospital: str) -> Seal | None:
        """The last seal in the log."""
        try:
            with self._log_file(hospital).open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size - 64 * RECORD_BYTES))
                seals = [line.seal for raw in stream.readlines() if (line := _line(raw)).seal is not None]
        except FileNotFoundError:
            return None
        return seals[-1] if seals else None

    def log_size(self, hospital: str) -> int | None:
        """Bytes of the log so far; None where there is none."""
        try:
            return self._log_file(hospital).stat().st_size
        except FileNotFoundError:
            return None

    def logged(self, hospital: str, size: int | None) -> Iterator[Line]:
        """The lines within the first `size` bytes of the log."""
        if size is None:
            return
        with self._log_file(hospital).open("rb") as stream:
            for raw in stream:
                if stream.tell() > size:
                    return
                yield _line(raw)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all processes with the files of heads and the key. Raises `OSError`."""
        descriptor = self._lock()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _lock(self) -> int:
        try:
            return os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _known(self, head: Head) -> Seal | None:
        try:
            return self.read(head.hospital)
        except DamagedHead:
            self._tell("head_damaged", head)
            self._head_file(head.hospital).unlink()
            return None

    def _compare(self, head: Head, known: Seal | None) -> None:
        """Tell of what does not fit. The new head is written all the same, so that what follows is covered; the line in the log stays."""
        written = self._written.get(head.hospital, 0)
        if known is None:
            if written or self.log_size(head.hospital):
                self._tell("head_missing", head)
        elif known.number < written:
            self._tell("head_gone_back", head)
        elif known.number == head.follows and known.hash != head.before.hex():
            self._tell("chain_differs", head)

    def _tell(self, event: str, head: Head) -> None:
        seen = Seen(event, head.hospital, head.number, head.follows, instant())
        _log.critical(event, extra=msgspec.to_builtins(seen) | {"event": event})
        self._meters.chain_breaks.add()
        with self._log_file(head.hospital).open("ab") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            _append(stream, seen)

    def _put(self, seal: Seal) -> None:
        record = msgspec.json.encode(Kept(seal.number, seal.hash, seal.at, seal.key, seal.signature))
        descriptor = os.open(self._head_file(seal.hospital), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, record.ljust(RECORD_BYTES - 1) + b"\n", 0)
        finally:
            os.close(descriptor)
        self._written[seal.hospital] = seal.number

    def _head_file(self, hospital: str) -> Path:
        file = self._head_files.get(hospital)
        if file is None:  # to make a path takes as long as to write to it
            file = self._head_files[hospital] = self.folder / f"{hospital}.head"
        return file

    def _log_file(self, hospital: str) -> Path:
        return self.folder / f"{hospital}.jsonl"


def _append(stream: Any, line: Seal | Seen) -> None:
    """A whole line, also after one that was cut off in its middle."""
    stream.seek(0, os.SEEK_END)
    begun = b""
    if stream.tell():
        with Path(stream.name).open("rb") as written:
            written.seek(-1, os.SEEK_END)
            begun = b"" if written.read(1) == b"\n" else b"\n"
    stream.write(begun + msgspec.json.encode(line) + b"\n")
    stream.flush()
    os.fsync(stream.fileno())


def _line(raw: bytes) -> Line:
    try:
        return Line(msgspec.json.decode(raw, type=Seal), None)
    except msgspec.DecodeError:
        pass
    try:
        return Line(None, msgspec.json.decode(raw, type=Seen))
    except msgspec.DecodeError:
        return Line(None, None)

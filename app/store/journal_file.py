"""The files of the journal: frames one behind the other, each with its length and checksum, in files that were given their room beforehand.

A frame is a mark of four bytes (the kind), the length of its content and the CRC-32 of kind, length and content, each of four bytes, little end
first; then the content. Room that is not used yet is zeros, so that the first zero in a mark's place is the end. A frame that does not agree with
its checksum, and no whole one behind it, was being written when the machine lost power or the process was killed: nobody was answered on it.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple

SEGMENT_BYTES = 16 << 20
"""Size of one file of the journal: some thousand decisions."""

PRIVATE_FILE = 0o600

_HEADER = struct.Struct("<4sII")
_FAMILY = b"SGJ"
"""What every mark begins with: by it the next frame is found behind a damaged one."""

_CLEAR_BYTES = 1 << 20


class Kind(bytes, Enum):
    """What a frame is. RECORD: a decision; VOID: the id of one in whose place another one was answered; KEPT: what of a decision in the database retries
    need; END: nothing more comes in this file."""

    RECORD = b"SGJR"
    VOID = b"SGJV"
    KEPT = b"SGJK"
    END = b"SGJE"


_KINDS = {bytes(kind): kind for kind in Kind}


class Frame(NamedTuple):
    """A frame that was read whole. `begin` and `end`: its place in the file."""

    kind: Kind
    content: bytes
    begin: int
    end: int


class Damage(NamedTuple):
    """Bytes that are no frame. `torn`: no whole frame is behind them."""

    begin: int
    end: int
    torn: bool


def framed(kind: Kind, content: bytes) -> bytes:
    """A frame as it is written."""
    length = len(content)
    return _HEADER.pack(kind, length, _checksum(kind, length, content)) + content


class JournalFile:
    """An open file of frames. Not more than one process may write at a time, which is the caller's to see to (`flock`)."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def make(cls, path: Path) -> None:
        """Make a file with its room given, under another name until it has all of it. Raises `OSError` where there is no room; nothing is left then."""
        aside = path.with_suffix(".new")
        descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            os.posix_fallocate(descriptor, 0, SEGMENT_BYTES)
            os.fsync(descriptor)
        except OSError:
            aside.unlink()
            raise
        finally:
            os.close(descriptor)
        aside.rename(path)

    @classmethod
    def open(cls, path: Path) -> JournalFile:
        """Open a file that is there."""
        return cls(path, os.open(path, os.O_RDWR | os.O_CLOEXEC))

    @property
    def size(self) -> int:
        """Room in bytes, used or not."""
        return os.fstat(self._descriptor).st_size

    def begins(self, offset: int) -> bool:
        """Whether something was written at that place, whole or not."""
        return any(os.pread(self._descriptor, len(_FAMILY), offset))

    def frame(self, offset: int) -> Frame | Damage | None:
        """What stands at a place; None at the end of what was written."""
        found = self._whole(offset)
        if found is not None:
            return found
        return self.leftover(offset) if self.begins(offset) else None

    def leftover(self, offset: int) -> Damage | None:
        """What stands from a place on that is no frame there; None where everything is zeros. After a loss of power it may begin with zeros: its
        blocks were written in any order."""
        rest = os.pread(self._descriptor, self.size - offset, offset)
        used = len(rest.rstrip(b"\0"))
        if used == 0:
            return None
        place = rest.find(_FAMILY, 1)
        while place > 0:
            if self._whole(offset + place) is not None:
                return Damage(offset, offset + place, torn=False)
            place = rest.find(_FAMILY, place + 1)
        return Damage(offset, offset + used, torn=True)

    def frames(self, offset: int = 0) -> Iterator[Frame | Damage]:
        """Everything from a place on, up to the end of what was written or what is torn there, that included."""
        while (found := self.frame(offset)) is not None:
            yield found
            if isinstance(found, Damage) and found.torn:
                return
            offset = found.end

    def write(self, offset: int, content: bytes) -> None:
        """Write at a place. It is not on stable storage before `sync`."""
        view = memoryview(content)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    def read(self, begin: int, end: int) -> bytes:
        """Bytes as they stand."""
        return os.pread(self._descriptor, end - begin, begin)

    def clear(self, begin: int, end: int) -> None:
        """Zeros in place of what is there: to the reader nothing was written."""
        for offset in range(begin, end, _CLEAR_BYTES):
            self.write(offset, bytes(min(_CLEAR_BYTES, end - offset)))

    def sync(self) -> None:
        """Return when all that was written is on stable storage."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Let it go."""
        os.close(self._descriptor)

    def _whole(self, offset: int) -> Frame | None:
        header = os.pread(self._descriptor, _HEADER.size, offset)
        if len(header) < _HEADER.size:
            return None
        mark, length, checksum = _HEADER.unpack(header)
        kind = _KINDS.get(mark)
        if kind is None or offset + _HEADER.size + length > self.size:
            return None
        content = os.pread(self._descriptor, length, offset + _HEADER.size)
        if len(content) < length or _checksum(mark, length, content) != checksum:
            return None
        return Frame(kind, content, offset, offset + _HEADER.size + length)


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on stable storage."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checksum(mark: bytes, length: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(length.to_bytes(4, "little"), zlib.crc32(mark)))


END = framed(Kind.END, b"")

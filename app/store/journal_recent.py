"""What this node has committed to the database of late, in a file beside the journal: from it a retry gets its first answer, and a case its history,
while the database is away.

It is a memory, not the record: it is not synced, and bounded by two files of which the older one is replaced. Whoever reads or writes holds the
journal's lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from app.store.decided import Kept
from app.store.journal_file import PRIVATE_FILE, Damage, JournalFile, Kind, framed
from app.store.journal_index import Index

RECENT_BYTES = 16 << 20
"""Size from which on the file is exchanged for a new one: together some ten thousand decisions."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


class Recent:
    """The two files, as one worker sees them."""

    def __init__(self, folder: Path) -> None:
        self._new, self._old = folder / "recent.0", folder / "recent.1"
        self._out: int | None = None
        self._index: Index | None = None
        self._seen = (0, 0)

    def append(self, kept: Iterable[Kept]) -> None:
        """Add what was committed."""
        out = self._open_out()
        written = b"".join([framed(Kind.KEPT, _encode(one)) for one in kept])
        os.write(out, written)

    def index(self) -> Index:
        """What is in the files, read anew as far as it is new."""
        found = self._new.stat() if self._new.exists() else None
        inode = 0 if found is None else found.st_ino
        if self._index is None or self._seen[0] != inode:
            self._index = Index()
            self._read(self._index, self._old, 1, 0)
            self._seen = (inode, self._read(self._index, self._new, 0, 0))
        elif found is not None and found.st_size > self._seen[1]:
            self._seen = (inode, self._read(self._index, self._new, 0, self._seen[1]))
        return self._index

    def forget(self) -> None:
        """Let the memory go until it is asked again."""
        self._index = None

    def close(self) -> None:
        """Let the file go."""
        if self._out is not None:
            os.close(self._out)
            self._out = None

    def _open_out(self) -> int:
        """The file to append to, a new one where it is full. One that another worker has exchanged is full as well."""
        if self._out is not None and os.fstat(self._out).st_size < RECENT_BYTES:
            return self._out
        self.close()
        if self._new.exists() and self._new.stat().st_size >= RECENT_BYTES:
            self._new.replace(self._old)
        self._out = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
        return self._out

    def _read(self, index: Index, path: Path, number: int, offset: int) -> int:
        """Read a file from a place on; where it ended. What is damaged in it is passed over."""
        if not path.exists():
            return 0
        file = JournalFile.open(path)
        try:
            for found in file.frames(offset):
                if not isinstance(found, Damage) and found.kind is Kind.KEPT:
                    index.add(number, _decode(found.content))
                offset = found.end
        finally:
            file.close()
        return offset

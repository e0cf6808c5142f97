"""A lock that the processes of a machine share: `flock` on a file. It is let go when its holder dies, whatever it died of."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from pathlib import Path

from app.store.journal_file import PRIVATE_FILE

_AGAIN_SECONDS = 0.0005


class FileLock:
    """One holder's side of the lock. Two of them exclude each other within one process as well."""

    def __init__(self, path: Path, like: Path | None = None) -> None:
        """`like`: a file whose owner and mode the lock's is given, as SQLite does with its own beside the store: what root's command line made must
        not keep the service out."""
        self._path = path
        self._like = like
        self._descriptor: int | None = None

    def acquire(self, seconds: float) -> bool:
        """Take it; False where that takes longer."""
        if self._descriptor is None:
            self._descriptor = self._open()
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_AGAIN_SECONDS)
            else:
                return True

    def _open(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        if self._like is not None and os.geteuid() == 0 and self._like.exists():
            found = self._like.stat()
            os.fchown(descriptor, found.st_uid, found.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
        return descriptor

    def release(self) -> None:
        """Let it go."""
        assert self._descriptor is not None
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let the file go, and the lock with it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

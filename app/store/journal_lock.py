"""A lock that the processes of a node share: `flock` on a file. It is let go when its holder dies, whatever it died of."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.store.decided import NotRecorded
from app.store.journal_file import PRIVATE_FILE

_AGAIN_SECONDS = 0.0005


class Locked(NotRecorded):
    """Another process has held the lock for too long: it was frozen, or its disk is."""


class FolderLock:
    """One holder's side of the lock. Two of them exclude each other within one process as well."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, seconds: float) -> bool:
        """Take it; False where that takes longer."""
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
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

    def release(self) -> None:
        """Let it go."""
        assert self._descriptor is not None
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    @contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """Held for a block. Raises `Locked` where it cannot be had in time."""
        if not self.acquire(seconds):
            raise Locked(f"journal locked for {seconds} s")
        try:
            yield
        finally:
            self.release()

    def close(self) -> None:
        """Let the file go, and the lock with it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

"""The lock of a journal's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.store.decided import NotRecorded
from app.store.file_lock import FileLock


class Locked(NotRecorded):
    """Another process has held the lock for too long: it was frozen, or its disk is."""


class FolderLock(FileLock):
    """One holder's side of it."""

    @contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """Held for a block. Raises `Locked` where it cannot be had in time."""
        if not self.acquire(seconds):
            raise Locked(f"journal locked for {seconds} s")
        try:
            yield
        finally:
            self.release()

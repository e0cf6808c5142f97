"""The file of the key that signs: made once, readable by its owner only, outside the database."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from app.audit.seal import SealKey
from app.errors import SurgateError


class SealKeyUnusable(SurgateError):
    """The file of the seal key cannot be read, made or put in place; the text says why."""


class KeyFile:
    """The key that signs now. Another process may put a new one in its place at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._key: SealKey | None = None

    def current(self) -> SealKey:
        """The key in the file; made where there is none. Raises `SealKeyUnusable`."""
        try:
            return self._current()
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise SealKeyUnusable(f"SURGATE_SEAL_KEY_FILE {self.path}: {type(error).__name__}: {error}") from None

    @property
    def following(self) -> Path:
        """Where a new key waits until the store knows it."""
        return self.path.with_name(f"{self.path.name}.next")

    def make_following(self) -> SealKey:
        """Make the key that is to follow, not in use yet. Raises `OSError`."""
        key = Ed25519PrivateKey.generate()
        self.following.unlink(missing_ok=True)
        _write(self.following, key)
        return SealKey(key)

    def use_following(self) -> None:
        """Put the new key in place of the old one, which is gone then. Raises `OSError`."""
        self.following.replace(self.path)
        _sync(self.path.parent)

    def made_following(self) -> SealKey | None:
        """A new key that waits, left by a rotation that was cut off. Raises `OSError`, `ValueError`."""
        return _read(self.following) if self.following.exists() else None

    def _current(self) -> SealKey:
        if self._seen is None:
            self._make_if_absent()
        found = self.path.stat()
        if self._key is None or self._seen != (found.st_ino, found.st_mtime_ns):
            self._key = _read(self.path)
            self._seen = (found.st_ino, found.st_mtime_ns)
        return self._key

    def _make_if_absent(self) -> None:
        """Two processes that start at once agree: the file is linked into place whole, which only one of them can do."""
        if self.path.exists():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        made.unlink(missing_ok=True)
        _write(made, Ed25519PrivateKey.generate())
        try:
            with contextlib.suppress(FileExistsError):
                self.path.hardlink_to(made)
        finally:
            made.unlink()
        _sync(self.path.parent)


def _read(path: Path) -> SealKey:
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return SealKey(key)


def _write(path: Path, key: Ed25519PrivateKey) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

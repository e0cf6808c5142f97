"""The file of an archived segment: the record as a file, packed with gzip."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import Any

import msgspec

from app.store import chain
from app.store.chain import Entry

_CHUNK_BYTES = 1 << 20


class Damaged(Exception):
    """The file does not hold what an archive holds."""


class _Line(msgspec.Struct, frozen=True):
    """A line of the file as far as it is an entry's."""

    number: int = 0
    kind: str = ""
    ref: str = ""
    at: str = ""
    digest: str = ""
    hash: str = ""
    record: dict[str, Any] | None = None


def read(path: Path) -> list[tuple[Entry, bytes | None]]:
    """The entries of an archive, each with the digest of the record that is there. Raises `Damaged`."""
    made = []
    try:
        with gzip.open(path, "rb") as stream:
            for raw in stream:
                line = msgspec.json.decode(raw, type=_Line)
                if line.kind:
                    entry = Entry(line.number, line.kind, line.ref, line.at, bytes.fromhex(line.digest), bytes.fromhex(line.hash))
                    made.append((entry, None if line.record is None else chain.digest_of(line.record)))
    except (OSError, EOFError, zlib.error, msgspec.DecodeError, ValueError):
        raise Damaged(path.name) from None
    return made


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises `Damaged`."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        raise Damaged(path.name) from None
    return digest.hexdigest()

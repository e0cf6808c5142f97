"""Seals: a signature (Ed25519) over where a hospital's chain stands, by a key that the database does not hold; and which keys are trusted.

What is signed is written down here and nowhere else: `verify_record.py` repeats it for whoever has no more than a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES = 32

_canonical = msgspec.json.Encoder(order="sorted").encode


class Seal(msgspec.Struct, frozen=True):
    """The signed statement that the hospital's chain had this hash at this number. `hash` and `signature` are hexadecimal, `at` is UTC."""

    hospital: str
    number: int
    hash: str
    at: str
    key: str
    signature: str


class KeyRow(NamedTuple):
    """A public key as it is kept. `introduced_by` and `signature`: the key before it and its voucher; None for the first."""

    key: str
    public: bytes
    since: str
    introduced_by: str | None
    signature: bytes | None


class SealKey:
    """A key that signs."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()
        self.fingerprint = fingerprint_of(self.public)

    def seal(self, hospital: str, number: int, hash_: bytes) -> Seal:
        """Sign where a chain stands now."""
        at = instant()
        signature = self._private.sign(seal_text(hospital, number, hash_.hex(), at, self.fingerprint))
        return Seal(hospital, number, hash_.hex(), at, self.fingerprint, signature.hex())

    def introduce(self, following: SealKey) -> KeyRow:
        """Vouch for the key that follows this one."""
        since = instant()
        signature = self._private.sign(key_text(following.public, since, self.fingerprint))
        return KeyRow(following.fingerprint, following.public, since, self.fingerprint, signature)


class Keyring:
    """The keys whose seals count: the first one, each that a counted one before it vouches for, and those trusted by their fingerprint.

    `trusted`: fingerprints that were learnt outside the store. Where any are given, the first key does not count by itself.
    `doubtful`: positions and fingerprints of those that do not count.
    """

    def __init__(self, rows: Sequence[KeyRow], trusted: Collection[str] = ()) -> None:
        self.rows = tuple(rows)
        self.positions: dict[str, int] = {}
        self.doubtful: list[str] = []
        self._public: dict[str, Ed25519PublicKey] = {}
        for position, row in enumerate(rows):
            if (
                len(row.public) == KEY_BYTES
                and row.key == fingerprint_of(row.public)
                and (row.key in trusted or self._counts(position, row, trusted))
            ):
                self.positions[row.key] = position
                self._public[row.key] = Ed25519PublicKey.from_public_bytes(row.public)
            else:
                self.doubtful.append(row.key)

    @property
    def newest(self) -> str | None:
        """The fingerprint of the last key that counts."""
        return max(self.positions, key=self.positions.__getitem__, default=None)

    def knows(self, seal: Seal) -> bool:
        """Whether the seal's key counts."""
        return seal.key in self._public

    def holds(self, seal: Seal) -> bool:
        """Whether the signature is that of the seal's key, which counts."""
        return self.knows(seal) and _signed(
            self._public[seal.key], seal.signature, seal_text(seal.hospital, seal.number, seal.hash, seal.at, seal.key)
        )

    def _counts(self, position: int, row: KeyRow, trusted: Collection[str]) -> bool:
        if row.introduced_by is None or row.signature is None:
            return position == 0 and not trusted
        voucher = self._public.get(row.introduced_by)
        return voucher is not None and _signed(voucher, row.signature.hex(), key_text(row.public, row.since, row.introduced_by))


def seal_text(hospital: str, number: int, hash_: str, at: str, key: str) -> bytes:
    """What a seal signs: a line that says what it is, then a JSON list without white space."""
    return b"surgate seal 1\n" + _canonical([hospital, number, hash_, at, key])


def key_text(public: bytes, since: str, introduced_by: str) -> bytes:
    """What a voucher for a key signs."""
    return b"surgate key 1\n" + _canonical([public.hex(), since, introduced_by])


def fingerprint_of(public: bytes) -> str:
    """SHA-256 of a public key, hexadecimal."""
    return hashlib.sha256(public).hexdigest()


def instant() -> str:
    """Now, as the store writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _signed(public: Ed25519PublicKey, signature: str, text: bytes) -> bool:
    try:
        public.verify(bytes.fromhex(signature), text)
    except (InvalidSignature, ValueError):
        return False
    return True

"""The chain: every record of a hospital (decision, change, read, step of an override) is one entry, numbered without a gap, and each entry's
hash takes in the hash before it. Whoever edits, deletes, inserts or reorders a record breaks it; `app.audit` verifies and seals it.

An entry is appended within the transaction that writes its record. Its number is also the id of the hospital's event about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import bulk, locks, tables
from app.store.database import Head, note_head
from app.store.locks import Lock

GENESIS = bytes(32)
"""What stands for the hash before the first entry."""

KINDS: Mapping[str, Table] = {
    "decision": tables.decisions,
    "change": tables.changes,
    "read": tables.reads,
    "override": tables.override_steps,
}
"""Which table the records of a kind are in."""

_HEXADECIMAL = frozenset({"content"})
_canonical = msgspec.json.Encoder(order="sorted").encode


class Link(NamedTuple):
    """An entry to be appended. `form`: the record's canonical form, see `form_of`."""

    kind: str
    ref: str
    at: str
    form: Mapping[str, Any]


class Entry(NamedTuple):
    """An entry as it stands."""

    number: int
    kind: str
    ref: str
    at: str
    digest: bytes
    hash: bytes


async def append(connection: AsyncConnection, hospital: str, links: Sequence[Link]) -> None:
    """Append entries, in this order. The transaction must be one that writes: the head does not move until it ends."""
    await locks.take(connection, Lock.CHAIN, [hospital])
    follows, before = number, last = await head(connection, hospital)
    rows = []
    for link in links:
        number += 1
        digest = digest_of(link.form)
        last = hash_of(last, hospital, number, link.kind, link.ref, link.at, digest)
        rows.append(
            {"hospital": hospital, "number": number, "kind": link.kind, "ref": link.ref, "at": link.at, "digest": digest, "hash": last}
        )
    if rows:
        await bulk.insert(connection, tables.chain, rows)
        note_head(connection, Head(hospital, number, last, follows, before))


async def head(connection: AsyncConnection, hospital: str) -> tuple[int, bytes]:
    """Number and hash of the last entry; of the last archived one where all of them were archived; 0 and `GENESIS` where there is none."""
    log, archives = tables.chain, tables.archives
    query = select(log.c.number, log.c.hash).where(log.c.hospital == hospital).order_by(log.c.number.desc()).limit(1)
    row = (await connection.execute(query)).first()
    if row is None:
        archived = select(archives.c.last, archives.c.hash).where(archives.c.hospital == hospital).order_by(archives.c.last.desc()).limit(1)
        row = (await connection.execute(archived)).first()
    return (0, GENESIS) if row is None else (row[0], row[1])


def digest_of(form: Mapping[str, Any]) -> bytes:
    """SHA-256 of a record: JSON in UTF-8, keys sorted, no white space."""
    return hashlib.sha256(_canonical(form)).digest()


def hash_of(before: bytes, hospital: str, number: int, kind: str, ref: str, at: str, digest: bytes) -> bytes:
    """SHA-256 over the hash before it and the entry as a JSON list in UTF-8 without white space, the digest in hexadecimal."""
    return hashlib.sha256(before + _canonical([hospital, number, kind, ref, at, digest.hex()])).digest()


def form_of(table: Table, row: Mapping[str, Any], terms: Sequence[tuple[str, str]] | None = None) -> dict[str, Any]:
    """A record as it is hashed and exported: every column but `seq`, documents as their text. `terms`: what a decision is found by."""
    form: dict[str, Any] = dict.fromkeys(_names_of(table))
    for name in form:
        value = row.get(name)
        if isinstance(value, bytes):
            value = value.hex() if name in _HEXADECIMAL else value.decode()
        form[name] = value
    if terms is not None:
        form["terms"] = sorted([kind, value] for kind, value in terms)
    return form


def entry_of(row: Row[Any]) -> Entry:
    """An entry from a row of the table."""
    return Entry(row.number, row.kind, row.ref, row.at, row.digest, row.hash)


@cache
def _names_of(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns if column.name != "seq")

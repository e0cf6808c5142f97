"""Locks that a transaction holds until it ends, by name: what SQLite's one writer gives for nothing, PostgreSQL's advisory locks give here.

Whoever takes several takes them in the order of `Lock`, so that nobody waits in a circle:

OFFICE   what people change: a hospital's grants, people, technologies, settings, keys, overrides; by the hospital's code
CHANGES  the change log: its numbers are committed in their order, so that who has seen one has seen all before it
CHAIN    the chain of a hospital; by its code
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from enum import IntEnum

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


class Lock(IntEnum):
    """What is locked, in the order in which it is taken."""

    OFFICE = 0x5347_0001
    CHANGES = 0x5347_0002
    CHAIN = 0x5347_0003


_TAKE = text(
    "SELECT pg_advisory_xact_lock(:kind, key) FROM (SELECT DISTINCT key FROM unnest(CAST(:keys AS int[])) AS key ORDER BY key) AS sorted"
)
_SHARE = text("SELECT pg_advisory_xact_lock_shared(:kind, :key)")


_HELD = "surgate.locks"


def begin(connection: AsyncConnection) -> None:
    """A transaction begins, which holds none yet."""
    connection.info[_HELD] = set()


async def take(connection: AsyncConnection, kind: Lock, names: Iterable[str] = ("",)) -> None:
    """Hold these locks alone until the transaction ends; the transaction must be one that writes. What it holds already is not asked for again."""
    if connection.dialect.name == "sqlite":
        return
    held: set[tuple[Lock, int]] = connection.info[_HELD]
    # Two names with one key wait for each other for nothing; that is all it costs.
    wanted = {(kind, _key(name)) for name in names} - held
    if wanted:
        await connection.execute(_TAKE, {"kind": kind.value, "keys": [key for _, key in wanted]})
        held |= wanted


async def share_changes(connection: AsyncConnection) -> None:
    """Let nobody append to the change log until the transaction ends; others may do the same at once."""
    if connection.dialect.name != "sqlite":
        await connection.execute(_SHARE, {"kind": Lock.CHANGES.value, "key": _key("")})


def _key(name: str) -> int:
    return zlib.crc32(name.encode()) - (1 << 31)

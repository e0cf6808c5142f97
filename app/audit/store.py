"""The database with what proves it: whoever writes to the record opens it here, so that every commit leaves a signed head outside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.heads import Heads
from app.audit.keyfile import KeyFile
from app.audit.seal import KeyRow, SealKey, instant
from app.settings import Settings
from app.store import tables
from app.store.database import Database
from app.store.postgres import Limits
from app.telemetry.meters import Meters


class Proven(NamedTuple):
    """A database, and the heads that are written after its commits."""

    database: Database
    heads: Heads


def open_store(settings: Settings, meters: Meters | None = None, enqueued: Callable[[], None] | None = None) -> Proven:
    """Open the store of the settings. `enqueued`: see `Database`."""
    heads = Heads(settings.seals_folder, KeyFile(settings.seal_key), meters)
    return Proven(Database(settings.database, committed=heads.note, enqueued=enqueued, limits=limits_of(settings)), heads)


def limits_of(settings: Settings) -> Limits:
    """What a worker may take of PostgreSQL."""
    return Limits(
        connections=settings.database_connections, statement=settings.database_statement_seconds, lock=settings.database_lock_seconds
    )


async def load_keys(connection: AsyncConnection) -> list[KeyRow]:
    """The public keys, in the order in which they came."""
    rows = await connection.execute(select(tables.seal_keys).order_by(tables.seal_keys.c.position))
    return [KeyRow(row.key, row.public, row.since, row.introduced_by, row.signature) for row in rows]


async def introduce(database: Database, key: SealKey) -> None:
    """Keep the public key where the store does not know it yet. The first one is trusted as it is; one that comes without a voucher later (the
    file was lost or exchanged) is kept too, and `surgate audit verify` tells of it."""
    async with database.read() as connection:
        if any(row.key == key.fingerprint for row in await load_keys(connection)):
            return
    async with database.write("seal") as connection:
        if not any(row.key == key.fingerprint for row in await load_keys(connection)):
            await add_key(connection, KeyRow(key.fingerprint, key.public, instant(), None, None))


async def add_key(connection: AsyncConnection, row: KeyRow) -> None:
    """Keep a public key. The transaction must be one that writes."""
    await connection.execute(tables.seal_keys.insert().values(row._asdict()))

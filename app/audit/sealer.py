"""Sealing: every so often each hospital's signed head is kept for good, in the database and in a log beside it, and told to the log collector.

A head is replaced by the next one; a seal stays. What a seal vouches for cannot be rewritten afterwards without it showing, also when head and
database are set back together, as long as one seal after it is held somewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.heads import NOT_SEALED, DamagedHead, Heads
from app.audit.keyfile import SealKeyUnusable
from app.audit.seal import Seal
from app.audit.store import introduce
from app.store import chain, duties, hospitals, tables
from app.store.database import AWAY, Database, Head
from app.telemetry.meters import Meters

DUTY = "seal"
INTRODUCE_SECONDS = 5.0
"""How long the start waits for the key to be known; every seal sees to it again."""

_log = logging.getLogger("surgate.audit")


class Sealer:
    """The background task that seals. `stop` it after the last record was written: that one is sealed too."""

    def __init__(self, database: Database, heads: Heads, worker: str, seconds: float, meters: Meters | None = None) -> None:
        self._database = database
        self._heads = heads
        self._worker = worker
        self._seconds = seconds
        self._meters = meters or Meters()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make the key known, whose signatures follow, and begin to seal. A database that does not answer does not hold up the start."""
        try:
            async with asyncio.timeout(INTRODUCE_SECONDS):
                await introduce(self._database, self._heads.key_file.current())
        except (*AWAY, SealKeyUnusable) as error:
            self._heads.failed(NOT_SEALED, error)
        self._task = asyncio.create_task(self._seal_forever())

    async def stop(self) -> None:
        """Seal what there is, then stop."""
        self._stopping.set()
        if self._task is not None:
            await self._task
        await self._attempt()
        try:
            async with self._database.write(DUTY) as connection:
                await duties.lay_down(connection, DUTY, self._worker)
        except AWAY as error:
            _log.warning("duties not laid down", extra={"error": type(error).__name__})  # their leases run out by themselves

    async def seal(self) -> None:
        """Seal every chain that has moved since its last seal. Done twice at once it does no harm.

        Raises:
            SealKeyUnusable, OSError, SQLAlchemyError: it cannot be done now.
        """
        await introduce(self._database, self._heads.key_file.current())
        async with self._database.read() as connection:
            ends = {code: await chain.head(connection, code) for code in await hospitals.codes(connection)}
            sealed = {code: await _last_sealed(connection, code) for code in ends}
        for code, (number, hash_) in ends.items():
            if number:
                await self._seal_one(Head(code, number, hash_, number, hash_), sealed[code])

    async def _seal_one(self, end: Head, sealed: Seal | None) -> None:
        """Seal one hospital's chain. `end`: where it stands in the database; a head that fell behind it (a crash, a full disk) is signed now."""
        self._heads.write(end)
        head = self._heads.read(end.hospital)
        assert head is not None
        if sealed != head:
            before = self._heads.last_logged(end.hospital)
            if await asyncio.to_thread(self._heads.log_seal, head):
                _log.info("sealed", extra={"seal": msgspec.to_builtins(head)})
            async with self._database.write(DUTY) as connection:
                await _keep(connection, [head] if before is None else [before, head])
        self._meters.sealed(head.hospital, head.number, datetime.fromisoformat(head.at))

    async def _seal_forever(self) -> None:
        while True:
            if await self._mine():
                await self._attempt()
            if await self._told_to_stop():
                return

    async def _mine(self) -> bool:
        try:
            async with self._database.write(DUTY) as connection:
                return await duties.hold(connection, DUTY, self._worker)
        except AWAY as error:
            self._heads.failed(NOT_SEALED, error)
            return False

    async def _attempt(self) -> None:
        try:
            await self.seal()
        except (*AWAY, SealKeyUnusable, DamagedHead) as error:
            self._heads.failed(NOT_SEALED, error)
        else:
            self._heads.succeeded(NOT_SEALED)

    async def _told_to_stop(self) -> bool:
        try:
            async with asyncio.timeout(self._seconds):
                return await self._stopping.wait()
        except TimeoutError:
            return False


async def _last_sealed(connection: AsyncConnection, hospital: str) -> Seal | None:
    seals = tables.seals
    row = (await connection.execute(select(seals).where(seals.c.hospital == hospital).order_by(seals.c.number.desc()).limit(1))).first()
    return None if row is None else Seal(hospital, row.number, row.hash.hex(), row.at, row.key, row.signature.hex())


async def _keep(connection: AsyncConnection, seals: Iterable[Seal]) -> None:
    """Keep seals that are in the log. Its last one is kept again where a crash came between the log and the database."""
    table = tables.seals
    for seal in seals:
        row = {"hospital": seal.hospital, "number": seal.number, "key": seal.key}
        same = [table.c[name] == value for name, value in row.items()]
        if (await connection.execute(select(table.c.number).where(*same))).first() is None:
            row |= {"hash": bytes.fromhex(seal.hash), "at": seal.at, "signature": bytes.fromhex(seal.signature)}
            await connection.execute(table.insert().values(row))

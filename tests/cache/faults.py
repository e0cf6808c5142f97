"""A database that can be taken away from a worker and given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache import live, live_hospital
from app.store.changes import since_boot
from app.store.database import Database


class Severed(Database):
    """`fault`: what becomes of a transaction: it fails at once, or nothing comes back until the fault is over."""

    fault: Literal["fails", "hangs"] | None = None
    asked = 0

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        await self._meet()
        async with super().read() as connection:
            yield connection

    @asynccontextmanager
    async def write(
        self, lock: str | None, prepare: Callable[[AsyncConnection], Awaitable[None]] | None = None
    ) -> AsyncIterator[AsyncConnection]:
        await self._meet()
        async with super().write(lock, prepare) as connection:
            yield connection

    async def _meet(self) -> None:
        self.asked += 1
        if self.fault == "fails":
            raise OperationalError("", {}, ConnectionRefusedError())
        while self.fault == "hangs":  # noqa: ASYNC110 - a frozen server tells nobody when it is thawed
            await asyncio.sleep(0.01)


def time_passes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """For a worker's memory it is so much later."""
    for module in (live, live_hospital):
        monkeypatch.setattr(module, "since_boot", lambda: since_boot() + seconds)

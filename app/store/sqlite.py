"""The embedded store: a SQLite file in WAL mode with synchronous=FULL, for one machine. It has one writer at a time among all processes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another process's transaction before it fails. A disk may stall for over ten seconds."""

_WRITE = "surgate_write"


def engine(url: str) -> AsyncEngine:
    """The pool of connections."""
    made = create_async_engine(url, hide_parameters=True, pool_size=8, max_overflow=0, pool_timeout=30)
    event.listen(made.sync_engine, "connect", _prepare)
    event.listen(made.sync_engine, "begin", _begin)
    return made


def reader(made: AsyncEngine) -> AsyncEngine:
    """The same pool for transactions that read."""
    return made


def writer(made: AsyncEngine) -> AsyncEngine:
    """The same pool for transactions that write: they take the write lock when they begin."""
    return made.execution_options(**{_WRITE: True})


def _prepare(connection: Any, _record: Any) -> None:
    # The driver's own transaction handling is off: BEGIN is ours, so that a writer takes its lock at once.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "cache_size=-65536",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITE) else "BEGIN")

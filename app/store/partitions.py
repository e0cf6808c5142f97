"""On PostgreSQL the decisions of each month are a table of their own, so that the months that everybody looks at stay small and what is archived
leaves whole tables behind. SQLite has one table."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

MONTHS_AHEAD = 3
"""Made in advance: a service that is up makes the next one in time, and one that was off for long finds the catch-all."""

LOCK_MS = 200

OTHERS = "decisions_others"
"""Takes what no month's table takes, so that nothing is ever refused for want of one."""


async def make(connection: AsyncConnection, now: datetime | None = None) -> list[str]:
    """Make the tables of this month and the next ones where they are missing; the names of those that were made. The transaction must be one that
    writes, with a lock. A month of which the catch-all holds decisions already stays there."""
    if connection.dialect.name == "sqlite":
        return []
    there = set((await connection.execute(_THERE)).scalars())
    # While a table is made nobody reads or writes decisions, and while it waits for who reads now, all who come later wait behind it. Better to
    # give up soon and come back.
    await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_MS}ms'"))
    if OTHERS not in there:
        await connection.execute(text(f"CREATE TABLE {OTHERS} PARTITION OF decisions DEFAULT"))
    made = []
    begin = (now or datetime.now(UTC)).strftime("%Y-%m")
    for _ in range(MONTHS_AHEAD + 1):
        end, name = _next(begin), f"decisions_{begin.replace('-', '_')}"
        if name not in there and not await _held_by_others(connection, begin, end):
            # DDL takes no parameters; these are digits.
            await connection.execute(text(f"CREATE TABLE {name} PARTITION OF decisions FOR VALUES FROM ('{begin}') TO ('{end}')"))
            made.append(name)
        begin = end
    return made


async def _held_by_others(connection: AsyncConnection, begin: str, end: str) -> bool:
    held = text(f"SELECT EXISTS (SELECT FROM {OTHERS} WHERE at >= :begin AND at < :end)")  # noqa: S608 — a name of ours
    return bool((await connection.execute(held, {"begin": begin, "end": end})).scalar())


def _next(month: str) -> str:
    year, number = int(month[:4]), int(month[5:])
    return f"{year + number // 12:04}-{number % 12 + 1:02}"


_THERE = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'decisions'::regclass")

"""One change: a transaction together with its row in the change log, in force on every worker before it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import Conflict
from app.store import changes
from app.store.changes import Change
from app.store.database import Database

_Result = TypeVar("_Result")


class Author(NamedTuple):
    """Who changes something, why and on which document. `by`: the staff number; `client` and `key`: through what."""

    hospital: str
    by: str
    reason: str
    document_no: str
    client: str
    key: str

    def change(self, kind: str, subject: str, action: str, before: Any, after: Any, people: tuple[str, ...] | None) -> Change:
        """The log's row for a change of theirs. `people` as in `Change`."""
        detail = {"before": msgspec.to_builtins(before), "after": msgspec.to_builtins(after), "client": self.client, "key": self.key}
        return Change(self.hospital, self.by, kind, subject, action, self.reason, self.document_no, people, detail)


async def make(
    database: Database, hospital: str, work: Callable[[AsyncConnection], Awaitable[tuple[_Result, Change]]]
) -> tuple[_Result, int]:
    """Do a hospital's work and log it in one transaction; return its result and the matrix version when every worker honours it.

    What a refusal tells of ("is suspended already") is in force everywhere too before it is raised: of two callers who suspend at once, each
    may rely on what they are told. Raises what the work raises, and what the store raises. Where the store fails while the change is waited
    for, the change was made; asked again, the call is refused as done already.
    """
    try:
        async with database.write(hospital) as connection:
            result, change = await work(connection)
            version = await changes.append(connection, change, datetime.now(UTC))
    except Conflict:
        async with database.read() as connection:
            latest = await changes.latest(connection)
        await changes.in_force(database, latest)
        raise
    await changes.in_force(database, version)
    return result, version

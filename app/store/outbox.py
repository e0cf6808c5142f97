"""The outbox: what the medical affairs office is to be told, written in the transaction that makes it true, delivered afterwards (`app.notify`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import tables


class Notice(NamedTuple):
    """A message to one target of the hospital. `event`: the step that it tells of; `message`: JSON, see `app.notify.notices`."""

    target: str
    event: str
    message: bytes


async def enqueue(connection: AsyncConnection, hospital: str, override_id: str, notices: Sequence[Notice], at: str) -> None:
    """Put messages out, to be delivered in this order per override and target. The transaction must be one that writes."""
    if notices:
        rows = [
            {
                "hospital": hospital,
                "override_id": override_id,
                "target": notice.target,
                "event": notice.event,
                "message": notice.message,
                "created_at": at,
                "state": "waiting",
                "next_at": at,
            }
            for notice in notices
        ]
        await connection.execute(tables.outbox.insert(), rows)

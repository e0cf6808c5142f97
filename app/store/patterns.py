"""What an override is held against in the record: the hospital's overrides of late, the declarer's last ones, the case's denials."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.overrides.documents import document_of
from app.overrides.patterns import DENIAL_MINUTES, LAST_REASONS, REASON_DAYS, REPEATED_DAYS, Denied, Patterns, Seen, patterns
from app.store import tables

MAX_LATELY = 500
"""Overrides of the last days that are looked at, the latest first: a hospital has a handful a month, and a fault that sends thousands must not slow
each one down."""

MAX_OF_DECLARER = 10 * LAST_REASONS
"""Overrides of one declarer that are looked at for their last reasons: an operation brings several when each of its documents was declared."""

MAX_DENIALS = 20
"""Denials of one case within minutes that are looked at, the latest first."""

_table = tables.overrides


class Declared(NamedTuple):
    """An override that is about to be opened. `patient_id`: the case's denials for another patient are not its own."""

    hospital: str
    patient_id: str
    declared_by: str
    at: datetime
    seen: Seen


async def patterns_of(connection: AsyncConnection, declared: Declared) -> Patterns:
    """What it continues."""
    mine = _seen().where(_table.c.hospital == declared.hospital)
    lately = mine.where(_table.c.at >= _text(declared.at - timedelta(days=REPEATED_DAYS))).limit(MAX_LATELY)
    of_declarer = mine.where(
        _table.c.declared_by == declared.declared_by, _table.c.at >= _text(declared.at - timedelta(days=REASON_DAYS))
    ).limit(MAX_OF_DECLARER)
    return patterns(
        declared.seen,
        declared.at,
        [_read(row) for row in await connection.execute(lately)],
        [_read(row) for row in await connection.execute(of_declarer)],
        [_denied(row) for row in await _denials(connection, declared)],
    )


async def _denials(connection: AsyncConnection, declared: Declared) -> Sequence[Any]:
    table = tables.decisions
    query = select(table.c.id, table.c.checkpoint, table.c.at, table.c.order).where(
        table.c.hospital == declared.hospital,
        table.c.case_id == declared.seen.case_id,
        table.c.patient_id == declared.patient_id,
        table.c.decision == "deny",
        table.c.at >= _text(declared.at - timedelta(minutes=DENIAL_MINUTES)),
    )
    return (await connection.execute(query.order_by(table.c.seq.desc()).limit(MAX_DENIALS))).all()


def _seen() -> Select[Any]:
    return select(*(_table.c[name] for name in Seen._fields)).order_by(_table.c.at.desc(), _table.c.id.desc())


def _read(row: Row[Any]) -> Seen:
    lists = {name: msgspec.json.decode(getattr(row, name), type=tuple[str, ...]) for name in ("operators", "codes")}
    return Seen(**{**row._mapping, **lists})


def _denied(row: Any) -> Denied:
    return Denied(row.id, row.checkpoint, document_of(row.order).urgency, datetime.fromisoformat(row.at))


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds")

"""The proof: is the record whole; the record with what a third party needs to verify it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Query as QueryOf
from fastapi.responses import StreamingResponse
from pydantic import Field

from app.api.http import answer, caller, gateway_of
from app.api.queries import InstantOrDay, Query, begin_of, end_of
from app.audit import record_file
from app.audit.verify import Outside, verify
from app.audit.workbook import write_workbook
from app.imports.exports import MEDIA_TYPES
from app.store import record
from app.store.keys import Key, Role

if TYPE_CHECKING:
    from app.main import Gateway

router = APIRouter(prefix="/v1/audit", tags=["audit"])

CHUNK_BYTES = 1 << 18

Auditor = Annotated[Key, caller(Role.AUDITOR)]
Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Form(StrEnum):
    """`jsonl` is the proof; `xlsx` is for people, and carries it in a sheet."""

    JSONL = "jsonl"
    XLSX = "xlsx"


class Trust(Query):
    """Which keys the caller holds as trusted."""

    trust: Annotated[
        list[Fingerprint],
        Field(default_factory=list, max_length=20, description="Fingerprints learnt elsewhere; the first key alone where none is"),
    ]


class Wanted(Query):
    """What of the record is exported: entries from `since` on up to `until`, and on to the next seal."""

    form: Annotated[Form, Field(alias="format")] = Form.JSONL
    since: InstantOrDay | None = None
    until: InstantOrDay | None = None


@router.get("/verify", summary="Is the record whole, and where not")
async def verify_record(request: Request, asked: Annotated[Trust, QueryOf()], key: Auditor) -> Response:
    """Reads the whole record, in pieces between which checks have their turn; one at a time per worker, by turns of the hospitals."""
    gateway = gateway_of(request)
    async with gateway.verifying.through(key.hospital):
        outside = Outside(gateway.heads, gateway.settings.archives_folder, asked.trust)
        return answer(await verify(gateway.database, outside, key.hospital))


@router.get("/export", summary="The record, with what is needed to verify it without the database")
async def export_record(request: Request, asked: Annotated[Wanted, QueryOf()], key: Auditor) -> Response:
    """The export is itself recorded, before its first byte leaves."""
    gateway = gateway_of(request)
    zone = (await gateway.live.hospital(key.hospital)).hospital.time_zone
    since, until = begin_of(asked.since, zone), end_of(asked.until, zone)
    async with gateway.reads.through(key.hospital), gateway.database.read() as connection:
        chosen = await record_file.choose(connection, gateway.heads, key.hospital, since, until)
    async with gateway.database.write(None) as connection:
        await record.note_read(connection, key, "export", record_file.subject(chosen, asked.form), [])
    name = f"{key.hospital}-record-{chosen.first}-{chosen.last}.{asked.form}"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    if asked.form is Form.JSONL:
        return StreamingResponse(_lines(gateway, chosen), headers=headers, media_type=record_file.MEDIA_TYPE)
    # A file without a name, in the folder that only the service reads: it is gone with the answer, also when the process is killed.
    book = tempfile.TemporaryFile(dir=gateway.settings.var_dir)  # noqa: SIM115 — closed by the stream
    try:
        async with gateway.files.through(key.hospital):
            await write_workbook(gateway.database, chosen, zone, book)
    except BaseException:
        book.close()
        raise
    return StreamingResponse(_chunks(book), headers=headers, media_type=MEDIA_TYPES["xlsx"])


async def _lines(gateway: Gateway, chosen: record_file.Range) -> AsyncIterator[bytes]:
    """A turn for each line: whoever reads slowly holds none meanwhile."""
    pieces = record_file.pieces(gateway.database, chosen)
    while True:
        async with gateway.reads.turn(chosen.hospital):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece.line


async def _chunks(book: IO[bytes]) -> AsyncIterator[bytes]:
    with book:
        book.seek(0)
        while chunk := await asyncio.to_thread(book.read, CHUNK_BYTES):
            yield chunk

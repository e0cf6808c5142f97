"""Files out, in the formats that imports take; what is exported imports again unchanged."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Query as QueryOf
from pydantic import Field

from app.api.http import caller, gateway_of
from app.api.queries import Query
from app.errors import NotFound
from app.imports.current import read_current
from app.imports.exports import MEDIA_TYPES, Format, export
from app.imports.plan import IMPORT_KINDS, needed_tables
from app.store.keys import Key, Role

router = APIRouter(prefix="/v1/exports", tags=["imports and exports"])


class ExportAsked(Query):
    """`format` is that of tables, a pack's too."""

    form: Annotated[Format, Field(alias="format")] = Format.CSV


@router.get("/{kind}", summary="Export a table as CSV or XLSX, the technologies as TOML, or a whole pack as zip")
async def export_file(
    request: Request, kind: str, asked: Annotated[ExportAsked, QueryOf()], key: Annotated[Key, caller(Role.MEDICAL_AFFAIRS, Role.AUDITOR)]
) -> Response:
    """Secrets of notifications are not exported."""
    if kind not in IMPORT_KINDS:
        raise NotFound(f"没有此类导出 / no export of {kind[:64]!r}; there are {', '.join(IMPORT_KINDS)}")
    gateway = gateway_of(request)
    async with gateway.files.through(key.hospital):
        async with gateway.database.read() as connection:
            current = await read_current(connection, key.hospital, needed_tables(kind))
        made = await asyncio.to_thread(export, kind, current, asked.form)
    headers = {
        "content-disposition": f'attachment; filename="{key.hospital}-{kind}.{made.suffix}"',
        "x-matrix-version": str(current.version),
    }
    return Response(made.data, headers=headers, media_type=MEDIA_TYPES[made.suffix])

"""Look-ups in the matrix: what a person may do, and who may do a procedure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Query as QueryOf
from pydantic import Field

from app.api.answers import Operators, PersonPrivileges
from app.api.http import ALL_ROLES, answer, caller, cursor_of, gateway_of, position_of
from app.api.queries import Day, Paged, Query, canonical_code
from app.cache.live_hospital import LiveHospital
from app.engine.codes import normalize_text
from app.engine.decide import candidates_of
from app.engine.lookup import Lookup, refuses
from app.errors import BadInput, FieldError, NoMatrix, NotFound
from app.store.keys import Key

router = APIRouter(tags=["matrix"])

Department = Annotated[str | None, Field(min_length=1, max_length=64, description="By any name that the hospital knows it by")]
OnDay = Annotated[Day | None, Field(description="The day of surgery; today where it is left out")]


class PrivilegesAsked(Query):
    code: Annotated[str | None, Field(min_length=1, max_length=64, description="A procedure code in any spelling")] = None
    department: Department = None
    on: OnDay = None


class OperatorsAsked(Paged):
    department: Department = None
    on: OnDay = None


@router.get("/v1/staff/{staff}/privileges", summary="What this person may do; with a code, whether and why")
async def get_privileges(
    request: Request, staff: str, asked: Annotated[PrivilegesAsked, QueryOf()], key: Annotated[Key, caller(*ALL_ROLES)]
) -> Response:
    live = await _live(request, key)
    row = live.matrix.person(normalize_text(staff))
    if row is None:
        raise NotFound("没有此工号 / no such staff number")
    lookup = _lookup(live, asked.department, asked)
    ctx = None if asked.code is None else lookup.procedure(canonical_code(asked.code), row.staff.staff)
    findings = lookup.person_findings(row) if ctx is None else lookup.findings(ctx)
    return answer(
        PersonPrivileges(
            staff=row.staff.staff,
            name=row.staff.name,
            department=row.staff.department,
            code=None if ctx is None else ctx.code,
            on=lookup.day,
            allowed=not refuses(findings),
            level=None if ctx is None else ctx.level,
            findings=findings,
            candidates=() if ctx is None else candidates_of(ctx),
            privileges=tuple(lookup.privileges(row)) if ctx is None else (),
            grades=tuple(lookup.grades(row)) if ctx is None else (),
            matrix=live.matrix.state,
        )
    )


@router.get("/v1/procedures/{code:path}/operators", summary="Who may perform this procedure")
async def get_operators(
    request: Request, code: str, asked: Annotated[OperatorsAsked, QueryOf()], key: Annotated[Key, caller(*ALL_ROLES)]
) -> Response:
    live = await _live(request, key)
    lookup = _lookup(live, asked.department, asked)
    ctx = lookup.procedure(canonical_code(code))
    if not ctx.resolved.known:
        raise NotFound(f"本院目录中没有此编码 / {ctx.code} is not in this hospital's catalog")
    found = list(islice(lookup.operators(ctx, _after(asked.cursor)), asked.limit + 1))
    page = found[: asked.limit]
    return answer(
        Operators(
            code=ctx.code,
            department=lookup.department,
            on=lookup.day,
            level=ctx.level,
            entries=candidates_of(ctx),
            findings=lookup.general_findings(ctx),
            items=tuple(page),
            next_cursor=cursor_of((page[-1].department, page[-1].staff)) if len(found) > len(page) else None,
            matrix=live.matrix.state,
        )
    )


async def _live(request: Request, key: Key) -> LiveHospital:
    gateway = gateway_of(request)
    live = await gateway.live.hospital(key.hospital)
    if live.usable is None:
        raise NoMatrix(f"授权数据只更新至 / the grant matrix is as of {live.as_of.astimezone(live.hospital.time_zone).isoformat()}")
    return live


def _lookup(live: LiveHospital, department: str | None, asked: PrivilegesAsked | OperatorsAsked) -> Lookup:
    try:
        return Lookup(live.compiled, live.matrix, department, asked.on, datetime.now(UTC))
    except OverflowError:
        raise BadInput([FieldError("on", "out_of_range", "日期超出范围 / out of range")]) from None


def _after(cursor: str | None) -> tuple[str, str] | None:
    position: Sequence[Any] | None = position_of(cursor)
    if position is None:
        return None
    if len(position) != 2 or not all(isinstance(p, str) for p in position):
        raise BadInput([FieldError("cursor", "invalid", "无效的游标 / not a cursor of this list")])
    return position[0], position[1]

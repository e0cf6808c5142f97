"""One grant's life: listed, added, suspended, resumed, revoked, renewed. A change is in force on every worker when the call returns."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.api.http import Page, answer, caller, cursor_of, gateway_of, position_of, read_json, reader
from app.api.office import Because, NewGrant, Renewed, author_of, grant_changed, grant_shown, grant_stopped
from app.api.queries import Paged
from app.engine.codes import MalformedCode, normalize_procedure
from app.engine.model import GrantState, ScopeType
from app.errors import BadInput, FieldError, NotFound
from app.privileges.grants import Grants, Step
from app.store import grants as store
from app.store.keys import Key, Role

router = APIRouter(prefix="/v1/grants", tags=["grants"])

Office = Annotated[Key, caller(Role.MEDICAL_AFFAIRS)]
Reader = Annotated[Key, reader(Role.MEDICAL_AFFAIRS)]


class GrantsAsked(Paged):
    """What grants are looked for by; all that is given must hold."""

    staff: str | None = None
    scope: Annotated[str | None, Field(description="A procedure code in any spelling")] = None
    scope_type: ScopeType | None = None
    state: GrantState | None = None


@router.get("", summary="List grants by staff number, filtered")
async def list_grants(request: Request, asked: Annotated[GrantsAsked, Query()], key: Reader) -> Response:
    wanted = store.Filter(asked.staff, None if asked.scope is None else _spellings(asked.scope), asked.scope_type, asked.state)
    async with gateway_of(request).database.read() as connection:
        found = await store.page(connection, key.hospital, wanted, _position(asked.cursor), asked.limit + 1)
    page = found[: asked.limit]
    last = page[-1].grant if len(found) > len(page) else None
    return answer(Page([grant_shown(one) for one in page], None if last is None else cursor_of((last.staff, last.id))))


@router.get("/{grant_id}", summary="One grant")
async def one_grant(request: Request, key: Reader, grant_id: str) -> Response:
    async with gateway_of(request).database.read() as connection:
        stored = await store.find(connection, key.hospital, grant_id)
    if stored is None:
        raise NotFound(f"没有此授权 / no grant {grant_id[:64]}")
    return answer(grant_shown(stored))


@router.post("", status_code=201, summary="Add a grant; `confirm` where the person holds the scope suspended or revoked")
async def add_grant(request: Request, key: Office) -> Response:
    body = await read_json(request, NewGrant)
    made = await _grants(request).add(author_of(key, body), body.columns(), confirmed=body.confirm)
    response = answer(grant_changed(made), 201)
    response.headers["location"] = f"{router.prefix}/{made.stored.grant.id}"
    return response


@router.post("/{grant_id}/suspend", summary="Suspend a grant; answers what still covers its scope")
async def suspend_grant(request: Request, key: Office, grant_id: str) -> Response:
    author = author_of(key, await read_json(request, Because))
    return answer(grant_stopped(await _grants(request).step(author, grant_id, Step.SUSPEND)))


@router.post("/{grant_id}/resume", summary="Let a suspended grant hold again")
async def resume_grant(request: Request, key: Office, grant_id: str) -> Response:
    author = author_of(key, await read_json(request, Because))
    return answer(grant_changed(await _grants(request).step(author, grant_id, Step.RESUME)))


@router.post("/{grant_id}/revoke", summary="Revoke a grant, for good; answers what still covers its scope")
async def revoke_grant(request: Request, key: Office, grant_id: str) -> Response:
    author = author_of(key, await read_json(request, Because))
    return answer(grant_stopped(await _grants(request).step(author, grant_id, Step.REVOKE)))


@router.post("/{grant_id}/renew", summary="Set a grant's last day, its last evaluation or both")
async def renew_grant(request: Request, key: Office, grant_id: str) -> Response:
    body = await read_json(request, Renewed)
    return answer(grant_changed(await _grants(request).renew(author_of(key, body), grant_id, body.renewal())))


def _grants(request: Request) -> Grants:
    gateway = gateway_of(request)
    return Grants(gateway.database, gateway.live)


def _spellings(scope: str) -> tuple[str, ...]:
    """A scope as it was asked for and, where it may be a procedure code, its canonical form."""
    try:
        return scope, normalize_procedure(scope)
    except MalformedCode:
        return (scope,)


def _position(cursor: str | None) -> tuple[str, str] | None:
    position = position_of(cursor)
    try:
        return None if position is None else msgspec.convert(position, tuple[str, str])
    except msgspec.ValidationError:
        raise BadInput([FieldError("cursor", "invalid", "无效的游标 / not a cursor of this list")]) from None

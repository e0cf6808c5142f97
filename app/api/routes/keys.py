"""Keys of the hospital: made, listed, revoked. When a call returns, every worker knows of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response

from app.api.http import Page, answer, caller, cursor_of, gateway_of, position_of, read_json, reader
from app.api.queries import Paged
from app.errors import BadInput, FieldError, NotFound
from app.store import changes
from app.store import keys as store
from app.store.keys import Key, Role

router = APIRouter(prefix="/v1/keys", tags=["keys"])

Admin = Annotated[Key, caller(Role.ADMIN)]
Reader = Annotated[Key, reader(Role.ADMIN)]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key is made from. `client`: whose it is, the key's own id by default; a rotated key of the same client goes on where the old one
    was. `staff`: the person that it is bound to."""

    roles: Annotated[tuple[Role, ...], msgspec.Meta(min_length=1, max_length=len(Role))]
    client: Annotated[str, msgspec.Meta(min_length=1, max_length=store.MAX_CLIENT_LENGTH)] | None = None
    staff: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class KeyShown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as it is listed: nothing in it gives the key away."""

    id: str
    client: str
    roles: tuple[str, ...]
    staff: str | None
    created_at: str
    revoked_at: str | None
    state: Literal["active", "revoked"]


class KeyMade(KeyShown, frozen=True):
    """A key that was just made: `key` is told this once."""

    key: str


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page of keys, oldest first."""

    items: tuple[KeyShown, ...]
    next_cursor: str | None


@router.get("", summary="List the hospital's keys, oldest first")
async def list_keys(request: Request, asked: Annotated[Paged, Query()], key: Reader) -> Response:
    after = _position(asked.cursor)
    async with gateway_of(request).database.read() as connection:
        mine = await store.load(connection, key.hospital)
    rest = [one for one in mine if after is None or (one.created_at, one.id) > after]
    page = rest[: asked.limit]
    following = cursor_of((page[-1].created_at, page[-1].id)) if len(rest) > len(page) else None
    return answer(Page([_shown(one) for one in page], following))


@router.post("", status_code=201, summary="Make a key; it is told this once")
async def create_key(request: Request, key: Admin) -> Response:
    body = await read_json(request, NewKey)
    database = gateway_of(request).database
    async with database.write(key.hospital) as connection:
        await store.check_holder(connection, key.hospital, body.client, body.staff)
        made, text = await store.create(connection, key.hospital, body.roles, body.client, body.staff)
        seq = await changes.append(connection, store.change_of(made, key.staff or key.client, "create"), datetime.now(UTC))
    await changes.in_force(database, seq)
    return answer(KeyMade(**msgspec.structs.asdict(_shown(made)), key=text), 201)


@router.delete("/{key_id}", summary="Revoke a key: no worker lets it in any more when this returns")
async def revoke_key(request: Request, key: Admin, key_id: str) -> Response:
    database = gateway_of(request).database
    async with database.write(key.hospital) as connection:
        if not await store.revoke(connection, key.hospital, key_id):
            raise NotFound(f"没有密钥 / no key {key_id[:64]}")
        revoked = next(one for one in await store.load(connection, key.hospital) if one.id == key_id)
        seq = await changes.append(connection, store.change_of(revoked, key.staff or key.client, "revoke"), datetime.now(UTC))
    await changes.in_force(database, seq)
    return answer(_shown(revoked))


def _shown(key: Key) -> KeyShown:
    return KeyShown(
        id=key.id,
        client=key.client,
        roles=tuple(sorted(key.roles)),
        staff=key.staff,
        created_at=key.created_at,
        revoked_at=key.revoked_at,
        state="active" if key.revoked_at is None else "revoked",
    )


def _position(cursor: str | None) -> tuple[str, str] | None:
    position = position_of(cursor)
    if position is None:
        return None
    try:
        return msgspec.convert(position, tuple[str, str])
    except msgspec.ValidationError:
        raise BadInput([FieldError("cursor", "invalid", "无效的游标 / not a cursor of this list")]) from None

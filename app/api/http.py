"""What every route behind the framework's router shares: who calls, bodies, answers, pages."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from fastapi import Depends, Request, Response

from app.api.auth import from_operations, require
from app.api.bodies import read_body, read_json_body
from app.api.check import KEY, MAX_BODY_BYTES
from app.api.content import decode
from app.errors import BadInput, FieldError, StoreAway
from app.store.keys import Key, Role

if TYPE_CHECKING:
    from app.main import Gateway

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

ALL_ROLES = tuple(Role)

_Value = TypeVar("_Value", bound=msgspec.Struct)


class Page(msgspec.Struct, frozen=True):
    """A list as it is answered."""

    items: Sequence[Any]
    next_cursor: str | None


def gateway_of(request: Request) -> Gateway:
    """The worker that a request came to."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def caller(*roles: Role) -> Any:
    """The key that calls, as a route's parameter; refused without one of the roles."""

    async def known(request: Request) -> Key:
        return await _let_in(request, roles)

    return Depends(known)


def reader(*roles: Role) -> Any:
    """As `caller`, for a route that reads the record or a list: it holds one of the turns that the hospitals take at the store. To be held by what
    has no body: a client that sends one slowly would keep the turn. Refused with `Overloaded` where too many of the hospital wait."""

    async def known(request: Request) -> AsyncIterator[Key]:
        key = await _let_in(request, roles)
        async with gateway_of(request).reads.through(key.hospital):
            yield key

    return Depends(known, scope="function")


def store_needed() -> Any:
    """Refuses at once while the store is away, instead of waiting for it: a dependency of routes that cannot do without it."""

    async def known(request: Request) -> None:
        live = gateway_of(request).live
        await live.fresh()
        if live.away:
            raise StoreAway("数据库暂不可用，请稍后重试 / The store is away, try again later")

    return Depends(known)


def operations() -> Any:
    """Lets in callers of this machine, of the operations networks, or with a key of an operations office, as a route's parameter: the code of the
    hospital that such a key is told of, None where all are."""

    async def known(request: Request) -> str | None:
        gateway = gateway_of(request)
        address = request.client.host if request.client else ""
        if from_operations(address, gateway.settings.ops_networks):
            return None
        return (await _let_in(request, (Role.OPS,))).hospital

    return Depends(known)


async def _let_in(request: Request, roles: tuple[Role, ...]) -> Key:
    client = request.client
    key = await gateway_of(request).guard.caller(request.headers.get("authorization"), client.host if client else "")
    request.scope[KEY] = key.id
    require(key, roles)
    return key


async def read_json(request: Request, kind: type[_Value], most: int = MAX_BODY_BYTES) -> _Value:
    """The request's body as a value. Raises `BadInput`, and what `read_json_bytes` raises."""
    return decode(await read_json_bytes(request, most), kind)


async def read_json_bytes(request: Request, most: int = MAX_BODY_BYTES) -> bytes:
    """The request's whole body, which must say that it is JSON. Raises `WrongMediaType`, `BodyTooLarge`, `Disconnected`."""
    return await read_json_body(request.receive, dict(request.scope["headers"]), most)


async def read_bytes(request: Request, most: int) -> bytes:
    """The request's whole body. Raises `BodyTooLarge`, `Disconnected`."""
    return await read_body(request.receive, dict(request.scope["headers"]), most)


def answer(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def acting_person(key: Key, by: str | None) -> str:
    """Whom a call acts for: the person that the key is bound to, otherwise `by` of the body.

    Raises:
        BadInput: neither is there, or `by` is somebody else than the key's person.
    """
    by = (by or "").strip()
    if key.staff is not None and by not in ("", key.staff):
        raise BadInput([FieldError("by", "not_you", f"此密钥属于 {key.staff} / this key is bound to {key.staff}")])
    person = key.staff or by
    if not person:
        raise BadInput([FieldError("by", "missing", "缺少经办人工号 / the staff number of who acts is missing")])
    return person


def cursor_of(position: Sequence[Any]) -> str:
    """A cursor that says where the next page begins."""
    return base64.urlsafe_b64encode(msgspec.json.encode(list(position))).decode().rstrip("=")


def position_of(cursor: str | None) -> list[Any] | None:
    """Where a page begins. Raises `BadInput` for what is no cursor of ours."""
    if cursor is None:
        return None
    try:
        position = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, msgspec.DecodeError):
        position = None
    if not isinstance(position, list):
        raise BadInput([FieldError("cursor", "invalid", "无效的游标 / not a cursor of this list")])
    return position

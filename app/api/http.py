"""What every route behind the framework's router shares: who calls, bodies, answers, pages."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from fastapi import Depends, Request, Response

from app.api.auth import require
from app.api.content import decode
from app.errors import BadInput, FieldError
from app.store.keys import Key, Role

if TYPE_CHECKING:
    from app.main import Gateway

DEFAULT_LIMIT = 50
MAX_LIMIT = 500

ALL_ROLES = tuple(Role)

_Value = TypeVar("_Value", bound=msgspec.Struct)


class BodyTooLarge(Exception):
    """The body has more bytes than the route takes."""

    def __init__(self, most: int) -> None:
        super().__init__(f"at most {most} bytes")


class WrongMediaType(Exception):
    """The body is of a kind that the route does not take."""


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
        client = request.client
        key: Key = await request.app.state.gateway.guard.caller(request.headers.get("authorization"), client.host if client else "")
        request.scope["surgate.key"] = key.id  # for the access log
        require(key, roles)
        return key

    return Depends(known)


async def read_json(request: Request, kind: type[_Value], most: int = 256 * 1024) -> _Value:
    """The request's body as a value. Raises `BadInput`, `BodyTooLarge`, `WrongMediaType`."""
    if not request.headers.get("content-type", "").lower().startswith("application/json"):
        raise WrongMediaType("Content-Type must be application/json")
    return decode(await read_bytes(request, most), kind)


async def read_bytes(request: Request, most: int) -> bytes:
    """The request's whole body. Raises `BodyTooLarge`."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise BodyTooLarge(most)
        chunks.append(chunk)
    return b"".join(chunks)


def answer(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def acting_person(key: Key, by: str | None) -> str:
    """Whom a call acts for: the person that the key is bound to, otherwise `by` of the body.

    Raises:
        BadInput: neither is there, or `by` is somebody else than the key's person.
    """
    if key.staff is not None and by is not None and by != key.staff:
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

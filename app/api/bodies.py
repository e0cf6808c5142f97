"""A request's body: what kind it says it is, and its bytes up to a bound. For the check's own handler and for every route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

JSON = "application/json"


class BodyTooLarge(Exception):
    """The body has more bytes than the route takes."""

    def __init__(self, most: int) -> None:
        super().__init__(f"at most {most} bytes")


class WrongMediaType(Exception):
    """The body is of a kind that the route does not take."""

    def __init__(self, *accepted: str) -> None:
        super().__init__(f"Content-Type must be {'one of: ' if len(accepted) > 1 else ''}{', '.join(accepted)}")


class Disconnected(Exception):
    """The client left before its request was whole. There is nobody to answer."""


def media_type_of(content_type: str | None) -> str:
    """The media type in a `Content-Type`, without parameters; empty where there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


async def read_json_body(receive: Receive, headers: Mapping[bytes, bytes], most: int) -> bytes:
    """The whole body of a request that says it is JSON. Raises `WrongMediaType` and what `read_body` raises."""
    if media_type_of(headers.get(b"content-type", b"").decode("latin-1")) != JSON:
        raise WrongMediaType(JSON)
    return await read_body(receive, headers, most)


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], most: int) -> bytes:
    """The whole body. One that is announced as too large is refused before it is received. Raises `BodyTooLarge`, `Disconnected`."""
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > most:
        raise BodyTooLarge(most)
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise BodyTooLarge(most)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)

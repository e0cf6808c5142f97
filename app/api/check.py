"""`POST /v1/check`: a plain ASGI handler before the framework's router, since its path is the one that must be fast."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from app.api.auth import Guard, require
from app.api.bodies import JSON, Disconnected, Message, Receive, read_json_body
from app.api.problems import MEDIA_TYPE, Problem, problem_of, problem_with
from app.authorize import Authorizer
from app.store.keys import Role

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

PATH = "/v1/check"
KEY = "surgate.key"
"""Where in a request's scope the id of the key stands that let it in."""

MAX_BODY_BYTES = 256 * 1024
ROLES = (Role.HIS, Role.ANESTHESIA)

_JSON_HEADERS = (b"content-type", JSON.encode())


async def handle_check(scope: Scope, receive: Receive, send: Send, guard: Guard, authorizer: Authorizer) -> None:
    """Answer one check. Errors of the caller become problem documents; a defect of ours is raised."""
    if scope["method"] != "POST":
        await _send_problem(send, problem_with(405, "POST", ((b"allow", b"POST"),)))
        return
    try:
        headers = dict(scope["headers"])
        client = scope.get("client")
        authorization = headers.get(b"authorization", b"").decode("latin-1")
        # By memory where it is known there: whether it still opens is looked at when the check is let in, so that nobody waits uncounted here.
        key = guard.known(authorization) or await guard.caller(authorization, client[0] if client else "")
        scope[KEY] = key.id
        require(key, ROLES)
        answer = await authorizer.check(await read_json_body(receive, headers, MAX_BODY_BYTES), key)
    except Disconnected:
        return
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        await _send_problem(send, problem)
        return
    await _send(send, 200, answer, (_JSON_HEADERS,))


async def _send_problem(send: Send, problem: Problem) -> None:
    await _send(send, problem.status, problem.body, ((b"content-type", MEDIA_TYPE.encode()), *problem.headers))


async def _send(send: Send, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})

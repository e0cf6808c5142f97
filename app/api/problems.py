"""The one map from errors to HTTP: RFC 9457 problem documents."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from fastapi import Response
from sqlalchemy.exc import SQLAlchemyError

from app import errors
from app.api.bodies import BodyTooLarge, WrongMediaType

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:surgate:problem:{}"


class Problem(NamedTuple):
    """A problem document and what goes with it."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


_KINDS: tuple[tuple[type[Exception], int, str, str], ...] = (
    (errors.Conflict, 409, "conflict", "与已有内容冲突 / Conflict"),
    (errors.NotFound, 404, "not-found", "不存在 / Not found"),
    (errors.NotAllowed, 403, "not-allowed", "无权限 / Not allowed"),
    (errors.Unauthenticated, 401, "unauthenticated", "缺少或无效的密钥 / No key, or none that is known"),
    (errors.TooMany, 429, "too-many", "失败次数过多 / Too many failed attempts"),
    (errors.NoMatrix, 503, "matrix", "授权数据过旧，暂时无法查询 / The grant matrix is too old to tell, try again"),
    (errors.StoreAway, 503, "store", "数据库暂不可用，请重试 / The store is not available now, try again"),
    (errors.Overloaded, 503, "overloaded", "暂时无法记录，请重试 / Cannot be recorded now, try again"),
    (BodyTooLarge, 413, "too-large", "内容过大 / Content too large"),
    (WrongMediaType, 415, "media-type", "不支持的内容类型 / Unsupported media type"),
    (SQLAlchemyError, 503, "store", "数据库暂不可用，请重试 / The store is not available now, try again"),
)
_BY_STATUS = {
    400: ("malformed-http", "不是有效的HTTP请求 / Not a valid HTTP request"),
    408: ("timeout", "请求未及时发完 / The request did not come in its time"),
    404: ("not-found", "不存在 / Not found"),
    405: ("method", "不支持的方法 / Method not allowed"),
}


def problem_of(error: Exception) -> Problem | None:
    """The problem document for an error; None for one that is a defect of ours."""
    if isinstance(error, errors.BadInput):
        return _bad_input(error)
    for kind, status, name, title in _KINDS:
        if isinstance(error, kind):
            # A driver's text can quote what it was given.
            detail = "" if isinstance(error, SQLAlchemyError) else str(error)
            headers = []
            more: dict[str, Any] = dict(error.members) if isinstance(error, errors.SurgateError) else {}
            if isinstance(error, errors.Retry) or status == 503:
                # In the document as well: what is refused within a batch has no header of its own.
                more["retry_after"] = error.after_seconds if isinstance(error, errors.Retry) else 1
                headers.append((b"retry-after", str(more["retry_after"]).encode()))
            if status == 401:
                headers.append((b"www-authenticate", b"Bearer"))
            return Problem(status, _body(status, name, title, detail or title, **more), tuple(headers))
    return None


def problem_response(problem: Problem) -> Response:
    """A problem document as the framework's answer."""
    headers = {name.decode(): value.decode() for name, value in problem.headers}
    return Response(problem.body, problem.status, headers, MEDIA_TYPE)


def problem_with(status: int, detail: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Problem:
    """A problem document for a status that is not an error of ours: wrong path, wrong method."""
    name, title = _BY_STATUS.get(status, ("http", "请求无效 / Bad request"))
    return Problem(status, _body(status, name, title, detail), headers)


def internal_error(request_id: str) -> Problem:
    """What a caller learns of a defect: that it was one, and under which id it is in the log."""
    return Problem(500, _body(500, "internal", "内部错误 / Internal error", f"request {request_id}"), ())


def _bad_input(error: errors.BadInput) -> Problem:
    status, name, title = (
        (400, "malformed", "不是有效的JSON / Malformed JSON") if error.malformed else (422, "invalid", "内容无效 / Invalid content")
    )
    listed = [e._asdict() for e in error.errors]
    return Problem(status, _body(status, name, title, str(error)[:2000], errors=listed), ())


def _body(status: int, name: str, title: str, detail: str, **more: Any) -> bytes:
    return orjson.dumps({"type": _TYPE.format(name), "title": title, "status": status, "detail": detail, **more})

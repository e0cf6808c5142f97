"""The OpenAPI document: exact schemas of every body and answer, drawn from the types that they are read into and written from.

One row of `OPERATIONS` per route says what goes in and out; the problem documents that a route can answer with follow from what it takes. The
examples beside this module were recorded from a running service (`tools/record_api_examples.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app import errors
from app.api import answers, office, overrides, problems, uploads
from app.api.bodies import JSON, BodyTooLarge, WrongMediaType
from app.api.check import MAX_BODY_BYTES
from app.api.routes import keys
from app.audit import record_file
from app.audit.findings import Verification
from app.engine.model import Decision, Order
from app.errors import FieldError
from app.imports.diff import Diff
from app.imports.exports import MEDIA_TYPES

SECURITY = "key"
_REF = "#/components/schemas/{name}"

_DESCRIPTION = """May this surgeon do this procedure? 手术权限实时核查。

A denial is a 200: it is an answer, not an error. Errors are `application/problem+json` (RFC 9457). Lists are
`{"items": [...], "next_cursor": null}`. Times are RFC 3339 with offset. Fields and query parameters that are not known are refused."""


class Operation(NamedTuple):
    """What a route takes and answers. `body` and `answer`: a type for JSON, or media types for files. `conflict`: it can contradict what is
    there. `open`: it needs no key. `operations`: from elsewhere than this machine and the operations networks it needs one all the same.
    `not_ready`: it answers that with 503. `may_miss`: there may be nothing of what is asked for."""

    answer: type | tuple[str, ...]
    body: type | tuple[str, ...] | None = None
    status: int = 200
    conflict: bool = False
    open: bool = False
    operations: bool = False
    not_ready: bool = False
    may_miss: bool = False


_FILES = tuple(dict.fromkeys((*uploads.TABLE_TYPES, *uploads.TOML_TYPES, *uploads.ZIP_TYPES, uploads.FORM)))
_GRANT_STOPPED = Operation(office.GrantStopped, office.Because, conflict=True)
_GRANT_CHANGED = Operation(office.GrantChanged, office.Because, conflict=True)
_STAFF = Operation(office.StaffStanding, office.Because, conflict=True)
_OVERRIDE = overrides.OverrideInFull
_TECHNOLOGY = Operation(office.TechnologyStanding, office.Because, conflict=True)

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("post", "/v1/check"): Operation(Decision, Order, conflict=True),
    ("post", "/v1/check/batch"): Operation(answers.BatchResults, answers.Batch),
    ("post", "/v1/explain"): Operation(answers.ExplainedDecision, Order, conflict=True),
    ("get", "/v1/decisions"): Operation(answers.DecisionList),
    ("get", "/v1/decisions/{decision_id}"): Operation(answers.RecordedInFull),
    ("get", "/v1/cases/{case_id}"): Operation(answers.Case),
    ("get", "/v1/overrides"): Operation(overrides.OverrideList),
    ("get", "/v1/overrides/{override_id}"): Operation(_OVERRIDE),
    ("post", "/v1/overrides/{override_id}/report"): Operation(_OVERRIDE, overrides.Report, conflict=True),
    ("post", "/v1/overrides/{override_id}/takeover"): Operation(_OVERRIDE, overrides.Takeover, conflict=True),
    ("post", "/v1/overrides/{override_id}/review"): Operation(_OVERRIDE, overrides.Review, conflict=True),
    ("get", "/v1/staff/{staff}/privileges"): Operation(answers.PersonPrivileges),
    ("get", "/v1/procedures/{code}/operators"): Operation(answers.Operators),
    ("get", "/v1/grants"): Operation(office.GrantList),
    ("post", "/v1/grants"): Operation(office.GrantChanged, office.NewGrant, 201, conflict=True),
    ("get", "/v1/grants/{grant_id}"): Operation(office.GrantShown),
    ("post", "/v1/grants/{grant_id}/suspend"): _GRANT_STOPPED,
    ("post", "/v1/grants/{grant_id}/resume"): _GRANT_CHANGED,
    ("post", "/v1/grants/{grant_id}/revoke"): _GRANT_STOPPED,
    ("post", "/v1/grants/{grant_id}/renew"): Operation(office.GrantChanged, office.Renewed, conflict=True),
    ("post", "/v1/staff/{staff}/suspend"): _STAFF,
    ("post", "/v1/staff/{staff}/resume"): _STAFF,
    ("post", "/v1/technologies/{technology}/stop"): _TECHNOLOGY,
    ("post", "/v1/technologies/{technology}/resume"): _TECHNOLOGY,
    ("get", "/v1/changes"): Operation(office.ChangeList),
    ("post", "/v1/imports/{kind}"): Operation(Diff, _FILES, conflict=True),
    ("get", "/v1/exports/{kind}"): Operation(tuple(MEDIA_TYPES.values())),
    ("get", "/v1/keys"): Operation(keys.Keys),
    ("post", "/v1/keys"): Operation(keys.KeyMade, keys.NewKey, 201),
    ("delete", "/v1/keys/{key_id}"): Operation(keys.KeyShown),
    ("get", "/v1/events"): Operation(("text/event-stream",)),
    ("get", "/v1/notifications"): Operation(answers.NotificationList),
    ("post", "/v1/notifications/{number}/retry"): Operation(answers.NotificationShown, conflict=True),
    ("get", "/v1/audit/verify"): Operation(Verification),
    ("get", "/v1/audit/export"): Operation((record_file.MEDIA_TYPE, MEDIA_TYPES["xlsx"]), may_miss=True),
    ("get", "/v1/stats"): Operation(answers.Stats),
    ("get", "/healthz"): Operation(answers.Alive, open=True),
    ("get", "/readyz"): Operation(answers.Readiness, open=True, operations=True, not_ready=True),
    ("get", "/metrics"): Operation(("text/plain",), open=True, operations=True),
}

_PROBLEMS: Mapping[int, tuple[str, Exception | None]] = {
    400: ("Malformed", errors.BadInput([FieldError("", "malformed_json", "不是有效的JSON / not valid JSON")], malformed=True)),
    401: ("Unauthenticated", errors.Unauthenticated("Authorization: Bearer KEY")),
    403: ("NotAllowed", errors.NotAllowed("needs one of the roles: anesthesia, his")),
    404: ("NotFound", errors.NotFound("没有此核查记录 / no such decision")),
    409: ("Conflict", errors.Conflict("request_id HIS-20261122-000123 was used for another content / 此请求号已用于其他内容")),
    413: ("TooLarge", BodyTooLarge(MAX_BODY_BYTES)),
    415: ("MediaType", WrongMediaType(JSON)),
    422: (
        "Invalid",
        errors.BadInput(
            [
                FieldError(
                    "procedures[0].code",
                    "malformed_code",
                    "不是有效的手术操作编码 / procedure code: '35.71001+' cannot be a procedure code",
                )
            ]
        ),
    ),
    429: ("TooMany", errors.TooMany("too many failed attempts from this address")),
    500: ("Internal", None),
    503: ("Overloaded", errors.Overloaded("too many checks are waiting")),
}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    made = get_openapi(title="Surgate", version=app.version, description=_DESCRIPTION, routes=app.routes)
    made["paths"]["/v1/check"] = {
        "post": {"tags": ["checks"], "summary": "Judge one checkpoint and record it", "operationId": "check_v1_check_post"}
    }
    made["paths"] = {path.replace(":path}", "}"): operations for path, operations in made["paths"].items()}
    parts = made.setdefault("components", {})
    for name in ("HTTPValidationError", "ValidationError"):
        parts.get("schemas", {}).pop(name, None)
    schemas, references = _schemas()
    parts["schemas"] = parts.get("schemas", {}) | schemas
    parts["responses"] = {name: _problem_response(error) for name, error in _PROBLEMS.values()}
    parts["securitySchemes"] = {SECURITY: {"type": "http", "scheme": "bearer", "description": "A key made by `surgate keys create`"}}
    for path, operations in made["paths"].items():
        for method, described in operations.items():
            operation = OPERATIONS.get((method, path))
            if operation is not None:
                _describe(described, operation, references, _examples().get(f"{method} {path}", {}))
    return made


def _describe(described: dict[str, Any], operation: Operation, references: Mapping[type, Any], examples: Mapping[str, Any]) -> None:
    """Body, answers and key of one operation."""
    if operation.body is not None:
        content = _content(operation.body, references, {name: e["request"] for name, e in examples.items() if "request" in e})
        described["requestBody"] = {"required": True, "content": content}
    content = _content(operation.answer, references, {name: e["response"] for name, e in examples.items() if "response" in e})
    found: dict[str, Any] = {str(operation.status): {"description": "The answer", "content": content}}
    for status in _problem_statuses(described, operation):
        found[str(status)] = {"$ref": f"#/components/responses/{_PROBLEMS[status][0]}"}
    if operation.not_ready:
        problem = {problems.MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}
        found["503"] = {"description": "Not ready", "content": content | problem}
    described["responses"] = found
    if not operation.open:
        described["security"] = [{SECURITY: []}]


def _problem_statuses(described: Mapping[str, Any], operation: Operation) -> list[int]:
    parameters = described.get("parameters", ())
    statuses = {500}
    if operation.operations or not operation.open:
        statuses |= {401, 403, 429, 503}
    if parameters:
        statuses |= {422}
    if operation.may_miss or any(p["in"] == "path" for p in parameters):
        statuses |= {404}
    if operation.body is not None:
        statuses |= {400, 413, 415, 422}
    if operation.conflict:
        statuses |= {409}
    return sorted(statuses)


def _content(kind: type | tuple[str, ...], references: Mapping[type, Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(kind, tuple):
        return {media_type: {"schema": _file(media_type)} for media_type in kind}
    content: dict[str, Any] = {"schema": references[kind]}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {JSON: content}


def _file(media_type: str) -> dict[str, Any]:
    if media_type == uploads.FORM:
        return {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
    return {"type": "string"} if media_type.startswith("text/") else {"type": "string", "format": "binary"}


def _problem_response(error: Exception | None) -> dict[str, Any]:
    """The response for an error; None: a defect of ours."""
    problem = problems.internal_error("0193-…") if error is None else problems.problem_of(error)
    assert problem is not None
    example = msgspec.json.decode(problem.body)
    headers = {header.decode().title(): {"schema": {"type": "string"}, "example": value.decode()} for header, value in problem.headers}
    response: dict[str, Any] = {
        "description": example["title"],
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}, "example": example}},
    }
    return response | ({"headers": headers} if headers else {})


@cache
def _schemas() -> tuple[dict[str, Any], dict[type, Any]]:
    """The components, and for each type that is a body or an answer its schema."""
    kinds = dict.fromkeys(
        k for o in OPERATIONS.values() for k in (o.body, o.answer) if isinstance(k, type) and k is not answers.BatchResults
    )
    drawn, components = msgspec.json.schema_components([*kinds, answers.Problem], ref_template=_REF)
    references: dict[type, Any] = dict(zip(kinds, drawn[:-1], strict=True))
    components["Problem"]["additionalProperties"] = True
    checks = components["Batch"]["properties"]["checks"]
    checks["items"] = {"anyOf": [checks["items"], {"description": "Whatever else stands here is answered with a problem in its place"}]}
    components["BatchResults"] = {
        "title": "BatchResults",
        "description": inspect.getdoc(answers.BatchResults),
        "type": "object",
        "properties": {"results": {"type": "array", "items": {"anyOf": [references[Decision], drawn[-1]]}}},
        "required": ["results"],
        "additionalProperties": False,
    }
    references[answers.BatchResults] = {"$ref": _REF.format(name="BatchResults")}
    return {name: _tidied(schema) for name, schema in components.items()}, references


def _tidied(schema: dict[str, Any]) -> dict[str, Any]:
    """Descriptions without the source's indentation."""
    if "description" in schema:
        schema["description"] = inspect.cleandoc(schema["description"])
    return schema


@cache
def _examples() -> dict[str, Any]:
    """Recorded requests and answers, by operation and name."""
    found: dict[str, Any] = msgspec.json.decode((resources.files("app.api") / "examples.json").read_bytes())
    return found

"""Many checks at once, and the same judgement explained. The single check is a handler of its own (`app.api.check`)."""

from __future__ import annotations

import logging
from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta

from app.api.answers import MAX_CHECKS, ExplainedDecision
from app.api.http import ALL_ROLES, answer, caller, gateway_of, read_json, read_json_bytes
from app.api.problems import internal_error, problem_of
from app.store.keys import Key, Role

MAX_BATCH_BYTES = 4 * 1024 * 1024

router = APIRouter(tags=["checks"])
_log = logging.getLogger(__name__)


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a batch. Each check is left as it was received: it is read, and kept, as if it had come alone."""

    checks: Annotated[tuple[msgspec.Raw, ...], Meta(min_length=1, max_length=MAX_CHECKS)]


@router.post("/v1/check/batch", summary="Judge and record up to 500 checks")
async def check_batch(request: Request, key: Annotated[Key, caller(Role.HIS, Role.ANESTHESIA)]) -> Response:
    batch = await read_json(request, Batch, MAX_BATCH_BYTES)
    results = await gateway_of(request).authorizer.check_many([bytes(check) for check in batch.checks], key)
    return answer({"results": [msgspec.Raw(_result(result)) for result in results]})


@router.post("/v1/explain", summary="The judgement of a check with every rule that was looked at, not recorded")
async def explain_check(request: Request, key: Annotated[Key, caller(*ALL_ROLES)]) -> Response:
    authorizer = gateway_of(request).authorizer
    explanation = await authorizer.explain(authorizer.order(await read_json_bytes(request), key), key)
    decision = explanation.decision
    fields = {name: getattr(decision, name) for name in decision.__struct_fields__}
    return answer(ExplainedDecision(**fields, trace=explanation.trace, passed_over=explanation.passed_over))


def _result(result: bytes | BaseException) -> bytes:
    if isinstance(result, bytes):
        return result
    problem = problem_of(result) if isinstance(result, Exception) else None
    if problem is None:
        _log.error("a check of a batch failed", exc_info=result)
        problem = internal_error("-")
    return problem.body

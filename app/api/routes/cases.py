"""A case as a whole: its checkpoints in time order, where it stands, its overrides."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi import Query as QueryOf

from app.api.answers import CaseStanding, Rejudged
from app.api.http import answer, gateway_of, reader
from app.api.orders import decode_order
from app.api.overrides import override_shown
from app.api.queries import Query
from app.api.routes.decisions import as_sent
from app.cache.live_hospital import LiveHospital
from app.engine.codes import normalize_text
from app.engine.decide import OtherPatient, decide
from app.engine.model import CaseHistory, Decision, PastDecision
from app.errors import BadInput, NotFound
from app.store import overrides, record
from app.store.keys import Key, Role

router = APIRouter(tags=["record"])


@router.get("/v1/cases/{case_id:path}", summary="A case: its checkpoints, its standing now, its overrides")
async def get_case(
    request: Request,
    case_id: str,
    _asked: Annotated[Query, QueryOf()],
    key: Annotated[Key, reader(Role.ANESTHESIA, Role.MEDICAL_AFFAIRS, Role.AUDITOR)],
) -> Response:
    gateway = gateway_of(request)
    tidy = normalize_text(case_id)
    async with gateway.database.read() as connection:
        found = await record.of_case(connection, key.hospital, tidy)
        opened = await overrides.of_case(connection, key.hospital, tidy)
    if not found:
        raise NotFound("没有此手术例次 / no such case")
    async with gateway.database.write(None) as connection:
        await record.note_read(connection, key, "case", tidy, [*(one.id for one in found), *(one.id for one in opened)])
    live, now = await gateway.live.hospital(key.hospital), datetime.now(UTC).isoformat(timespec="microseconds")
    return answer(
        {
            "case_id": tidy,
            "standing": _standing(found, live),
            "checkpoints": [as_sent(one) for one in found],
            "overrides": [override_shown(live, one, now) for one in opened],
        }
    )


def _standing(found: list[record.Recorded], live: LiveHospital) -> CaseStanding:
    last = msgspec.json.decode(found[-1].answer, type=Decision, strict=False)
    return CaseStanding(
        decision=last.decision,
        checkpoint=last.checkpoint,
        decision_id=found[-1].id,
        evaluated_at=last.evaluated_at,
        message=last.message,
        now=_rejudged(found, live),
    )


def _rejudged(found: list[record.Recorded], live: LiveHospital) -> Rejudged | None:
    """The last document judged once more, by what is in force now, against the decisions before it."""
    *before, last = found
    try:
        order = decode_order(last.order, live.compiled.policy.flags)
        own = tuple(msgspec.json.decode(one.past, type=PastDecision) for one in before if one.patient_id == last.patient_id)
        history = CaseHistory(last.patient_id, own) if own else None
        judged = decide(order, live.compiled, live.usable, history, datetime.now(UTC))
    except (BadInput, OtherPatient):
        return None
    return Rejudged(judged.decision, judged.overridable, judged.message, judged.evaluated_at)

"""The one use case: an order's bytes in, the recorded answer's bytes out.

decode → admit → what is known of the request and the case → decide → record → answer. The answer is on stable storage before it is returned.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version as package_version

import msgspec
from msgspec.structs import replace
from uuid_utils import uuid7

from app.api.orders import decode_order
from app.cache.live import Live, LiveHospital
from app.engine.decide import OtherPatient, decide
from app.engine.history import past_decision
from app.engine.model import CaseHistory, Decision, Order, Verdict
from app.errors import Conflict, Overloaded
from app.explain import Explanation, explain
from app.store.decisions import Earlier, Ledger, Record, RequestKey
from app.store.keys import Key

ENGINE_VERSION = package_version("surgate")

_encode = msgspec.json.Encoder().encode
_encode_canonically = msgspec.json.Encoder(order="sorted").encode


class Authorizer:
    """Judges checks for one worker. `clock` gives the instant, with offset."""

    def __init__(self, live: Live, ledger: Ledger, max_waiting: int) -> None:
        self._live = live
        self._ledger = ledger
        self._max_waiting = max_waiting
        self.in_flight = 0

    async def check(self, body: bytes, key: Key) -> bytes:
        """The answer to `POST /v1/check`, recorded.

        Raises:
            BadInput: the order is wrong.
            Conflict: the request id was used for other content, or the case belongs to another patient.
            Overloaded: no room, or the record cannot be kept.
        """
        hospital = self._live.hospitals[key.hospital]
        order = decode_order(body, hospital.compiled.policy.flags)
        if self.in_flight >= self._max_waiting:
            raise Overloaded("too many checks are waiting")
        self.in_flight += 1
        try:
            return await self._recorded(order, body, key)
        finally:
            self.in_flight -= 1

    async def explain(self, order: Order, key: Key) -> Explanation:
        """The same judgement with its trace, not recorded. Raises `Conflict` for another patient's case, `Overloaded` where the store fails."""
        before = await self._ledger.before(RequestKey(key.hospital, key.client, ""), order.case_id)
        await self._live.fresh()
        live = self._live.hospitals[key.hospital]
        try:
            return explain(order, live.compiled, live.matrix, before.history, datetime.now(UTC))
        except OtherPatient:
            raise _other_patient(order) from None

    async def _recorded(self, order: Order, body: bytes, key: Key) -> bytes:
        request = RequestKey(key.hospital, key.client, order.request_id)
        content = hashlib.sha256(_encode_canonically(order)).digest()
        before = await self._ledger.before(request, order.case_id)
        if before.earlier is not None:
            return _replayed(before.earlier, content, order)
        # From here to the decision nothing is awaited but a stale lease: what is judged by is what was in force when the check began, or newer.
        await self._live.fresh()
        live = self._live.hospitals[key.hospital]
        decision = _decide(order, live, before.history)
        answer = _encode(decision)
        clash = await self._ledger.record(_record(order, body, content, decision, answer, live, request, key.id))
        return answer if clash is None else _replayed(clash, content, order)


def _decide(order: Order, live: LiveHospital, history: CaseHistory | None) -> Decision:
    try:
        decision = decide(order, live.compiled, live.matrix, history, datetime.now(UTC))
    except OtherPatient:
        raise _other_patient(order) from None
    override = decision.override
    if override is not None and decision.decision is Verdict.OVERRIDE:
        override = replace(override, id=str(uuid7()))
    return replace(decision, decision_id=str(uuid7()), override=override)


def _record(
    order: Order, body: bytes, content: bytes, decision: Decision, answer: bytes, live: LiveHospital, request: RequestKey, key_id: str
) -> Record:
    assert decision.decision_id is not None
    return Record(
        id=decision.decision_id,
        key=request,
        content=content,
        at=decision.evaluated_at.astimezone(UTC).isoformat(timespec="microseconds"),
        checkpoint=decision.checkpoint.value,
        case_id=order.case_id,
        patient_id=order.patient.id,
        decision=decision.decision.value,
        matrix_version=live.version,
        engine_version=ENGINE_VERSION,
        policy_version=live.policy_version,
        key_id=key_id,
        order=body,
        answer=answer,
        past=past_decision(decision),
        terms=tuple(sorted(_terms(order, decision))),
    )


def _terms(order: Order, decision: Decision) -> set[tuple[str, str]]:
    """What the decision can be found by."""
    found = [f.code for f in decision.findings]
    found += [f.code for p in decision.procedures for f in p.findings] + [f.code for m in decision.team for f in m.findings]
    terms = {("reason", code) for code in found} | {("department", order.department)}
    return terms | {("operator", p.operator) for p in decision.procedures} | {("code", p.code) for p in decision.procedures}


def _replayed(earlier: Earlier, content: bytes, order: Order) -> bytes:
    """The first answer again, marked as such. In JSON the mark cannot stand inside a text: its quotes would be escaped there."""
    if earlier.content != content:
        raise Conflict(f"request_id {order.request_id} was used for another content / 此请求号已用于其他内容")
    return earlier.answer.replace(b'"replayed":false', b'"replayed":true', 1)


def _other_patient(order: Order) -> Conflict:
    return Conflict(f"case_id {order.case_id} belongs to another patient / 此例次属于另一名患者")

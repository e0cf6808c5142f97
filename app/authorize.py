"""The one use case: an order's bytes in, the recorded answer's bytes out.

decode → admit → what is known of the request and the case → decide → record → answer. The answer is on stable storage before it is returned: in the
database or, where that does not answer, in the journal of the node.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version as package_version

import msgspec
from msgspec.structs import replace
from uuid_utils import uuid7

from app.admission import Admission, Rank, Turns, rank_of
from app.api.orders import decode_order
from app.cache.live import Live
from app.cache.live_hospital import LiveHospital
from app.engine.decide import OtherPatient, decide
from app.engine.history import past_decision
from app.engine.model import Decision, Message, Order, Urgency, Verdict
from app.errors import BadInput, Conflict, Unauthenticated
from app.explain import Explanation, explain
from app.overrides.opening import Openings
from app.store.decided import Before, CaseTaken, Earlier, Record, RequestKey
from app.store.decisions import Ledger
from app.store.keys import Key
from app.store.overrides import Opening
from app.telemetry.meters import Meters

ENGINE_VERSION = package_version("surgate")

MAX_SIDE_BY_SIDE = 16
"""Cases of one batch that are judged at once: fewer than are let in however slow it goes, so that a batch that comes alone is not shed for its own sake."""

HISTORY_DEGRADED = "history_degraded"
"""Flag of an answer for which the case so far could not be read from the database: it was judged by what this node knows of the case."""

UPSTREAM_MISSING = "upstream_missing"
_UNREAD = Message(
    zh="（数据库暂时无法读取，上一环节可能已有通过记录：请重新提交上一环节核查后再试；急诊请填写紧急声明。）",
    en=" (The database cannot be read now, there may be one: have the previous document checked again first, or declare an emergency.)",
)

EXPLAINED_AT_ONCE = 4
MAX_EXPLAINED_IN_LINE = 32
"""Of one hospital. An explanation takes many times what a check takes, and nobody waits for it in a theatre."""

CONFIRM = "emergency_to_confirm"
"""The obligation by which orders are found that urgency alone relaxed."""

_encode = msgspec.json.Encoder().encode
_encode_canonically = msgspec.json.Encoder(order="sorted").encode


class Authorizer:
    """Judges checks for one worker. `clock` gives the instant, with offset."""

    def __init__(self, live: Live, ledger: Ledger, openings: Openings, admission: Admission, meters: Meters | None = None) -> None:
        self._live = live
        self._ledger = ledger
        self._openings = openings
        self._admission = admission
        self._explaining = Turns(EXPLAINED_AT_ONCE, MAX_EXPLAINED_IN_LINE)
        self._meters = meters or Meters()

    async def check(self, body: bytes, key: Key) -> bytes:
        """The answer to `POST /v1/check`, recorded.

        Raises:
            BadInput: the order is wrong.
            Conflict: the request id was used for other content, or the case belongs to another patient.
            Overloaded: no room, or the record cannot be kept.
            Unauthenticated: the key was revoked.
        """
        try:
            order = self.order(body, key)
        except BadInput:
            await self._live.fresh()  # what is refused may have been allowed by now: a flag of the hospital's own
            order = self.order(body, key)
        return await self._admitted(order, body, key, rank_of(order.urgency, in_batch=False))

    async def check_many(self, bodies: Sequence[bytes], key: Key) -> list[bytes | BaseException]:
        """The answers to the checks of a batch, in its order; for one that failed, what `check` raises.

        The checks of one case are judged one after the other as they stand in the batch, so that a notice sees the order before it; cases are
        judged side by side, `MAX_SIDE_BY_SIDE` at once, so that a batch leaves room for single checks; what is urgent in it does not wait for that.
        """
        results: list[bytes | BaseException] = [b""] * len(bodies)
        cases: dict[str, list[tuple[int, Order]]] = defaultdict(list)
        for index, body in enumerate(bodies):
            try:
                order = self.order(body, key)
            except BadInput as error:
                results[index] = error
            else:
                cases[order.case_id].append((index, order))
        room = asyncio.Semaphore(MAX_SIDE_BY_SIDE)

        async def judge(checks: Sequence[tuple[int, Order]]) -> None:
            for index, order in checks:
                rank = rank_of(order.urgency, in_batch=True)
                async with room if rank is Rank.BATCH else nullcontext():
                    answered = await asyncio.gather(self._admitted(order, bodies[index], key, rank), return_exceptions=True)
                results[index] = answered[0]

        await asyncio.gather(*map(judge, cases.values()))
        return results

    def order(self, body: bytes, key: Key) -> Order:
        """The order in a body, as the key's hospital reads it. Raises `BadInput`."""
        return decode_order(body, self._live.settings[key.hospital].policy.flags)

    async def _admitted(self, order: Order, body: bytes, key: Key, rank: Rank) -> bytes:
        with self._admission.admitted(rank, key.hospital):
            # Only who is let in waits for the change log: behind a store that stands still nobody gathers uncounted.
            await self._live.fresh()
            known = self._live.keys.get(key.id)
            if known is None or known.revoked_at is not None:
                raise Unauthenticated("Authorization: Bearer KEY")
            return await self._recorded(order, body, key)

    async def explain(self, order: Order, key: Key) -> Explanation:
        """The same judgement with its trace, not recorded. Raises `Conflict` for another patient's case, `Overloaded` where neither the
        database nor the journal can be read or too many wait."""
        async with self._explaining.through(key.hospital):
            return await self._explained(order, key)

    async def _explained(self, order: Order, key: Key) -> Explanation:
        before = await self._ledger.before(RequestKey(key.hospital, key.client, ""), order.case_id)
        live = await self._live.hospital(key.hospital)
        try:
            return explain(order, live.compiled, live.usable, before.history, datetime.now(UTC))
        except OtherPatient:
            raise _other_patient(order) from None

    async def _recorded(self, order: Order, body: bytes, key: Key) -> bytes:
        try:
            return await self._judged(order, body, key)
        except CaseTaken:
            # Two first documents of one case came at once, for two patients. The second one is judged again, now that the first is known.
            return await self._judged(order, body, key)

    async def _judged(self, order: Order, body: bytes, key: Key) -> bytes:
        watch = self._meters.check()
        request = RequestKey(key.hospital, key.client, order.request_id)
        content = hashlib.sha256(_encode_canonically(order)).digest()
        before = await self._ledger.before(request, order.case_id)
        if before.earlier is not None:
            self._meters.replays.add()
            return _replayed(before.earlier, content, order)
        # From here to the decision nothing is awaited: what is judged by is what was in force when the check began, or newer.
        live = await self._live.hospital(key.hospital)
        watch.admitted()
        decision = _decide(order, live, before)
        watch.judged()
        opening = None
        if decision.decision is Verdict.OVERRIDE:
            decision, opening = await self._openings.prepare(order, decision, live, key.id)
        answer = _encode(decision)
        made = _record(order, body, content, decision, answer, live, request, key.id, opening)
        clash = await self._ledger.record(made._replace(new_case=before.history is None))
        watch.recorded(decision, replayed=clash is not None)
        return answer if clash is None else _replayed(clash, content, order)


def _decide(order: Order, live: LiveHospital, before: Before) -> Decision:
    try:
        decision = decide(order, live.compiled, live.usable, before.history, datetime.now(UTC))
    except OtherPatient:
        raise _other_patient(order) from None
    if not before.complete:
        decision = _with_incomplete_history(decision)
    override = decision.override
    if override is not None and decision.decision is Verdict.OVERRIDE:
        override = replace(override, id=str(uuid7()))
    return replace(decision, decision_id=str(uuid7()), override=override)


def _with_incomplete_history(decision: Decision) -> Decision:
    """The decision marked, and what a doctor can do where the case's earlier documents were denied for being out of reach."""
    message = decision.message
    if decision.decision is Verdict.DENY and any(finding.code == UPSTREAM_MISSING for finding in decision.findings):
        message = Message(zh=message.zh + _UNREAD.zh, en=message.en + _UNREAD.en)
    return replace(decision, message=message, flags=(*decision.flags, HISTORY_DEGRADED))


def _record(
    order: Order,
    body: bytes,
    content: bytes,
    decision: Decision,
    answer: bytes,
    live: LiveHospital,
    request: RequestKey,
    key_id: str,
    opening: Opening | None,
) -> Record:
    assert decision.decision_id is not None
    return Record(
        id=decision.decision_id,
        key=request,
        content=content,
        at=decision.evaluated_at.astimezone(UTC).isoformat(timespec="microseconds"),
        day=decision.evaluated_at.date().isoformat(),
        checkpoint=decision.checkpoint.value,
        case_id=order.case_id,
        patient_id=order.patient.id,
        decision=decision.decision.value,
        matrix_version=None if decision.matrix is None else decision.matrix.version,
        engine_version=ENGINE_VERSION,
        policy_version=live.policy_version,
        key_id=key_id,
        order=body,
        answer=answer,
        past=past_decision(decision),
        terms=tuple(sorted(_terms(live.compiled.catalog.department(order.department), decision))),
        opening=opening,
        emergency=order.urgency is Urgency.EMERGENCY or order.emergency is not None,
    )


def _terms(department: str, decision: Decision) -> set[tuple[str, str]]:
    """What the decision can be found by. `department`: the hospital's own name of the one that ordered."""
    found = [f.code for f in decision.findings]
    found += [f.code for p in decision.procedures for f in p.findings] + [f.code for m in decision.team for f in m.findings]
    terms = {("reason", code) for code in found} | {("department", department)}
    if any(o.code == CONFIRM for o in decision.obligations):
        terms.add(("confirm", CONFIRM))
    return terms | {("operator", p.operator) for p in decision.procedures} | {("code", p.code) for p in decision.procedures}


def _replayed(earlier: Earlier, content: bytes, order: Order) -> bytes:
    """The first answer again, marked as such. In JSON the mark cannot stand inside a text: its quotes would be escaped there."""
    if earlier.content != content:
        raise Conflict(f"request_id {order.request_id} was used for another content / 此请求号已用于其他内容")
    return earlier.answer.replace(b'"replayed":false', b'"replayed":true', 1)


def _other_patient(order: Order) -> Conflict:
    return Conflict(f"case_id {order.case_id} belongs to another patient / 此例次属于另一名患者")

"""What is opened with an `override` decision, drawn from the order, its answer and what the record holds already."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from msgspec.structs import replace

from app.cache.live_hospital import LiveHospital
from app.engine.codes import normalize_text
from app.engine.model import Decision, Order, ProcedureResult, Verdict
from app.errors import StoreAway
from app.overrides.life import OPEN, OverrideState
from app.overrides.patterns import FLAGS, Patterns, Seen
from app.overrides.told import Notifier, told_of
from app.store.breaker import Breaker
from app.store.database import Database
from app.store.overrides import Opening
from app.store.patterns import Declared, patterns_of


class Openings:
    """Prepares overrides for the transaction that records their decisions."""

    def __init__(self, database: Database, breaker: Breaker, notify: Notifier) -> None:
        self._database = database
        self._breaker = breaker
        self._notify = notify

    async def prepare(self, order: Order, decision: Decision, live: LiveHospital, key_id: str) -> tuple[Decision, Opening]:
        """An `override` decision with the flags that the record raises, and what is opened with it. An emergency does not wait for the record: where
        it cannot be read the flag `record_unread` says so."""
        opening = opening_of(order, decision, live, key_id)
        seen = Seen(opening.id, opening.case_id, opening.department, opening.hour, opening.operators, opening.codes, opening.reason)
        declared = Declared(live.hospital.code, order.patient.id, opening.declared_by, decision.evaluated_at.astimezone(UTC), seen)
        try:
            found = await self._breaker.reach(partial(self._patterns_of, declared))
        except StoreAway:
            found = Patterns(unread=True)
        return self._flagged(decision, opening, found, live)

    async def _patterns_of(self, declared: Declared) -> Patterns:
        async with self._database.read() as connection:
            return await patterns_of(connection, declared)

    def _flagged(self, decision: Decision, opening: Opening, found: Patterns, live: LiveHospital) -> tuple[Decision, Opening]:
        assert decision.override is not None
        raised = {*opening.flags, *found.flags}
        flags = tuple(flag for flag in FLAGS if flag in raised)
        opening = opening._replace(flags=flags, patterns=found)
        state = OverrideState.PENDING_REPORT if opening.reported_at is None else OverrideState.REPORTED
        told = told_of(live, opening, state, OPEN, opening.declared_by, to=opening.reported_to)
        opening = opening._replace(notices=self._notify(live, told, decision.evaluated_at))
        return replace(decision, override=replace(decision.override, flags=flags)), opening


def opening_of(order: Order, decision: Decision, live: LiveHospital, key_id: str) -> Opening:
    """The override that an `override` decision opens, as far as the order and the answer tell."""
    declared, override = order.emergency, decision.override
    assert declared is not None
    assert override is not None
    assert decision.decision_id is not None
    assert override.id is not None
    assert override.review_due_at is not None
    reported = declared.reported_at if normalize_text(declared.reported_to or "") else None
    return Opening(
        id=override.id,
        decision_id=decision.decision_id,
        case_id=order.case_id,
        at=_utc(decision.evaluated_at),
        day=decision.evaluated_at.date().isoformat(),
        hour=decision.evaluated_at.hour,
        department=live.compiled.catalog.department(order.department),
        declared_by=normalize_text(declared.declared_by or ""),
        reason_code=declared.reason_code or "",
        reason=declared.reason or "",
        reported_to=declared.reported_to or "" if reported else "",
        reported_at=None if reported is None else _utc(reported),
        late=override.late,
        review_due_at=_utc(override.review_due_at),
        flags=override.flags,
        participants=tuple(sorted(set(participants_of(order)))),
        operators=tuple(dict.fromkeys(_let_through(decision))),
        codes=tuple(dict.fromkeys(p.code for p in _lifted(decision))),
        key_id=key_id,
    )


def participants_of(order: Order) -> Iterator[str]:
    """Everybody whom a document names: none of them reviews what they took part in."""
    yield from (procedure.operator for procedure in order.procedures)
    yield from (member.staff for member in order.team)
    if order.requester:
        yield order.requester
    if order.emergency is not None and order.emergency.declared_by:
        yield normalize_text(order.emergency.declared_by)


def _lifted(decision: Decision) -> tuple[ProcedureResult, ...]:
    """The procedures that the declaration lifted; all of them where only the team or the case needed it."""
    return tuple(p for p in decision.procedures if p.decision is Verdict.OVERRIDE) or decision.procedures


def _let_through(decision: Decision) -> Iterator[str]:
    lifted = [p.operator for p in decision.procedures if p.decision is Verdict.OVERRIDE]
    lifted += [m.staff for m in decision.team if m.decision is Verdict.OVERRIDE]
    yield from lifted or [p.operator for p in decision.procedures]


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")

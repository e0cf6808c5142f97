"""Who may take an operation over, by what is in force now: the recorded order judged once more."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from app.api.orders import decode_order
from app.cache.live_hospital import LiveHospital
from app.engine.decide import decide
from app.engine.model import Colleague, Decision, Order, Value, Verdict
from app.errors import BadInput
from app.store.overrides import Stored


class Substitutes(Value, frozen=True):
    """Who may take somebody's place now, those on duty before all others and own department first within each; nobody where a final finding
    bars everybody, or where that person may do it themselves by now (`allowed_now`). `place`: a procedure's code, or a role in the team."""

    place: str
    staff: str
    allowed_now: bool
    operators: tuple[Colleague, ...]


def substitutes_of(live: LiveHospital, body: bytes, one: Stored, now: datetime) -> tuple[Substitutes, ...]:
    """For everybody who was let through. Empty where the order cannot be read any more."""
    order = _order(live, body)
    if order is None:
        return ()
    judged = _judged(live, order, now)
    places = [
        (p.code, p.operator, p.decision, p.operators) for p in judged.procedures if p.code in one.codes and p.operator in one.operators
    ]
    places += [(m.role.value, m.staff, m.decision, m.operators) for m in judged.team if m.staff in one.operators]
    return tuple(Substitutes(place, staff, verdict is Verdict.ALLOW, others) for place, staff, verdict, others in places)


def is_privileged(live: LiveHospital, body: bytes, one: Stored, number: str, now: datetime) -> bool | None:
    """Whether that person would be allowed in the places of those who were let through. None: the order cannot be read any more."""
    order = _order(live, body)
    if order is None:
        return None
    procedures = tuple(replace(p, operator=number) if p.operator in one.operators else p for p in order.procedures)
    team = tuple(replace(m, staff=number) if m.staff in one.operators else m for m in order.team)
    judged = _judged(live, replace(order, procedures=procedures, team=team), now)
    own = [p.decision for p in judged.procedures if p.operator == number] + [m.decision for m in judged.team if m.staff == number]
    return all(verdict is Verdict.ALLOW for verdict in own)


def _order(live: LiveHospital, body: bytes) -> Order | None:
    try:
        return decode_order(body, live.compiled.policy.flags)
    except BadInput:
        # The hospital has dropped a flag, or an order's form has moved on: it cannot be judged any more, and nobody is named.
        return None


def _judged(live: LiveHospital, order: Order, now: datetime) -> Decision:
    """By the matrix alone: the case so far says nothing about anybody's privilege."""
    return decide(order, live.compiled, live.usable, None, now)

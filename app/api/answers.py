"""What the reading routes answer with: types that are encoded as they stand, and that the OpenAPI document is drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.api.overrides import OverrideShown
from app.engine.lookup import GradeHeld, Privilege
from app.engine.model import Candidate, Checkpoint, Colleague, Decision, Finding, Instant, MatrixState, Message, Order, Value, Verdict
from app.explain import TraceStep
from app.overrides.life import OverrideState

MAX_CHECKS = 500
"""Checks in one batch."""


class Problem(Struct, frozen=True, omit_defaults=True):
    """RFC 9457. `errors` names every wrong field of bad input. A kind of problem may have members of its own beside these."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[WrongField, ...] = ()


class WrongField(Struct, frozen=True):
    """Where it is (`procedures[0].code`), a stable short code, what is wrong in Chinese and English; of a file also its name, row and column."""

    field: str
    code: str
    message: str


class Batch(Value, frozen=True):
    """Up to 500 checks. Those of one case are judged in their order."""

    checks: Annotated[tuple[Order, ...], Meta(min_length=1, max_length=MAX_CHECKS)]


class BatchResults(Struct, frozen=True):
    """In the order of the checks: a decision each, or the problem that kept it from being made."""

    results: tuple[Any, ...]


class ExplainedDecision(Decision, frozen=True):
    """The decision that a check would get now, not recorded, with every rule that was looked at. `passed_over` names, per procedure, the
    selectors (service, item, name) that no entry has."""

    trace: tuple[TraceStep, ...]
    passed_over: Mapping[str, tuple[str, ...]]


class RecordNote(Value, frozen=True):
    """What is kept beside an answer: when, for whom, and by which versions it was made."""

    at: Instant
    client: str
    key: str
    matrix_version: int | None
    engine_version: str
    policy_version: str


class RecordedDecision(Decision, frozen=True):
    """An answer as it was sent, and what is kept beside it."""

    record: RecordNote


class RecordedInFull(RecordedDecision, frozen=True):
    """The same with the order as it was received."""

    order: Order


class DecisionList(Value, frozen=True):
    """Newest first."""

    items: tuple[RecordedDecision, ...]
    next_cursor: str | None


class Rejudged(Value, frozen=True):
    """What the last document of a case would be answered now, by the matrix as it is now; not recorded."""

    decision: Verdict
    overridable: bool
    message: Message
    evaluated_at: Instant


class CaseStanding(Value, frozen=True):
    """Where a case stands: the last decision, and whether it would still be the same. `now` is None where its order cannot be read any more."""

    decision: Verdict
    checkpoint: Checkpoint
    decision_id: str
    evaluated_at: Instant
    message: Message
    now: Rejudged | None


class Case(Value, frozen=True):
    """A case's decisions in time order; `overrides` are those let through on an emergency declaration, as they stand now."""

    case_id: str
    standing: CaseStanding
    checkpoints: tuple[RecordedDecision, ...]
    overrides: tuple[OverrideShown, ...]


class PersonPrivileges(Value, frozen=True):
    """What a person may do on a day. With a code: `allowed` and `findings` are for that procedure and `candidates` holds its entries, each with
    how the person stands to it. Without: `allowed` says that nothing about the person as such stands against it, and `privileges` lists it."""

    staff: str
    name: str
    department: str
    code: str | None
    on: date
    allowed: bool
    level: int | None
    findings: tuple[Finding, ...]
    candidates: tuple[Candidate, ...]
    privileges: tuple[Privilege, ...]
    grades: tuple[GradeHeld, ...]
    matrix: MatrixState


class Operators(Value, frozen=True):
    """Who may perform a procedure on a day. `findings` are what stands against everybody: a stop, a missing assessment, another department."""

    code: str
    department: str | None
    on: date
    level: int | None
    entries: tuple[Candidate, ...]
    findings: tuple[Finding, ...]
    items: tuple[Colleague, ...]
    next_cursor: str | None
    matrix: MatrixState


class NotificationShown(Value, frozen=True):
    """A message to one target, as it stands. `target`: a hash of its kind and address, which may hold a secret; `kind` is None where the
    settings have that target no longer. `attempts`: tries so far. `next_at`: not tried again before. `last_error`: why the last try failed."""

    id: str
    override_id: str
    event: str
    target: str
    kind: str | None
    state: Literal["waiting", "sent", "dead"]
    attempts: int
    created_at: Instant
    next_at: Instant
    done_at: Instant | None
    last_error: str


class NotificationList(Value, frozen=True):
    """Newest first."""

    items: tuple[NotificationShown, ...]
    next_cursor: str | None


class Outcomes(Value, frozen=True):
    """Counts of decisions by outcome."""

    allow: int
    deny: int
    override: int


class DayCount(Outcomes, frozen=True):
    day: date


class DepartmentCount(Outcomes, frozen=True):
    department: str


class SurgeonCount(Outcomes, frozen=True):
    """Decisions that name the surgeon as operator, and how many of them urgency alone relaxed."""

    staff: str
    name: str | None
    emergency_to_confirm: int


class ReasonCount(Outcomes, frozen=True):
    code: str


class StateCount(Value, frozen=True):
    state: OverrideState
    count: int


class DayOverrides(Value, frozen=True):
    day: date
    count: int


class DepartmentOverrides(Value, frozen=True):
    department: str
    count: int


class SurgeonOverrides(Value, frozen=True):
    staff: str
    name: str | None
    count: int


class CodeOverrides(Value, frozen=True):
    code: str
    name: str | None
    count: int


class HourOverrides(Value, frozen=True):
    """`hour`: 0 to 23, the hospital's."""

    hour: int
    count: int


class FlagCount(Value, frozen=True):
    flag: str
    count: int


class OverrideCounts(Value, frozen=True):
    """`open` and `overdue`: the overrides whose review is not closed now, and those of them that should be. The rest counts the overrides that were
    opened within the period, the most frequent first, days and hours in order; a surgeon is one who was let through."""

    open: int
    overdue: int
    states: tuple[StateCount, ...]
    days: tuple[DayOverrides, ...]
    departments: tuple[DepartmentOverrides, ...]
    surgeons: tuple[SurgeonOverrides, ...]
    codes: tuple[CodeOverrides, ...]
    hours: tuple[HourOverrides, ...]
    flags: tuple[FlagCount, ...]


class Stats(Value, frozen=True):
    """Counts of the decisions from `since` to `until`, both days included, by the hospital's days."""

    since: date
    until: date
    total: Outcomes
    days: tuple[DayCount, ...]
    departments: tuple[DepartmentCount, ...]
    surgeons: tuple[SurgeonCount, ...]
    reasons: tuple[ReasonCount, ...]
    overrides: OverrideCounts


class Dependency(Value, frozen=True):
    """How something that the worker depends on is, and how long it took to find out."""

    status: Literal["up", "down"]
    ms: float
    detail: str = ""


class HospitalReadiness(Value, frozen=True):
    """By which version of a hospital's matrix this worker judges, and how long ago it was held against the change log. `usable` false: too long ago
    to allow anything by it."""

    hospital: str
    version: int
    as_of: Instant
    age_seconds: float
    usable: bool


class Alive(Value, frozen=True):
    """The process answers."""

    status: Literal["ok"]


class JournalBacklog(Value, frozen=True):
    """Decisions of this node that wait for the database; when the first of them was judged; how many were set aside since the database refuses them or
    nobody can read them."""

    waiting: int
    oldest_at: Instant | None
    refused: int


class Readiness(Value, frozen=True):
    """Whether this worker may be sent checks, and how each thing that it depends on is. `degraded`: it goes on without the database, or has not brought
    everything there that it decided meanwhile."""

    status: Literal["ready", "not_ready"]
    degraded: bool
    dependencies: Mapping[str, Dependency]
    matrix: tuple[HospitalReadiness, ...]
    waiting: int
    journal: JournalBacklog

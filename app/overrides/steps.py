"""The steps that people take on an override: report, takeover, review. Each is one transaction that holds the state it is judged by: of two at once,
the second meets the state that the first has made.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache.live import Live
from app.cache.live_hospital import LiveHospital
from app.engine.calendar import add_working_days, closing_time
from app.engine.model import StaffStatus
from app.engine.override import MIN_REASON_CHARS, is_canned
from app.errors import BadInput, Conflict, FieldError, NotAllowed, NotFound
from app.overrides.documents import document_of, earliest, named_in
from app.overrides.life import CLOSED, OverrideAction, OverrideState, after, allowed
from app.overrides.substitutes import is_privileged
from app.overrides.told import Notifier, told_of
from app.store import overrides as store
from app.store.database import Database
from app.store.overrides import Step, Stored

CLOCKS_DIFFER = timedelta(minutes=1)
"""How far ahead of this machine's clock a caller's may be."""


class Actor(NamedTuple):
    """Who takes a step, by the staff number, and through which key."""

    hospital: str
    by: str
    key_id: str


class StepRefused(Conflict):
    """The state does not allow the step. Its problem says which ones it allows now."""

    def __init__(self, one: Stored, action: OverrideAction) -> None:
        steps = [step.value for step in allowed(one.state, reported=one.reported)]
        now = ", ".join(steps) or "none"
        lacks = "，须先登记报告" if action is OverrideAction.BEGIN_REVIEW and not one.reported else ""
        super().__init__(
            f"当前状态 {one.state} 不允许 {action}{lacks}；现可进行 / {action} is not allowed in {one.state}; allowed now: {now}"
        )
        self.members: Mapping[str, Any] = {"state": one.state.value, "allowed_steps": steps}


class Steps:
    """Takes steps. All of them raise `NotFound` for an override that the hospital has not, `BadInput` for what is wrong with who, when or why,
    and `StepRefused`."""

    def __init__(self, database: Database, live: Live, notify: Notifier) -> None:
        self._database = database
        self._live = live
        self._notify = notify

    async def report(self, actor: Actor, override_id: str, *, to: str, at: datetime | None, note: str) -> None:
        """Keep that the override was reported: by whom, to whom, when. It may follow a takeover."""
        live = await self._hospital(actor)
        _known(live, actor.by, (StaffStatus.ACTIVE, StaffStatus.SUSPENDED))
        async with self._database.write(actor.hospital) as connection:
            one, now = await _found(connection, actor, override_id), datetime.now(UTC)
            state = _after(one, OverrideAction.REPORT)
            done = await _done_at(connection, one, at, now)
            step = Step(one.id, OverrideAction.REPORT, state, actor.by, done, _text(now), actor.key_id, to, note)
            await self._take(connection, live, one, step, {"reported": True}, now)

    async def take_over(self, actor: Actor, override_id: str, *, at: datetime | None, note: str) -> None:
        """Keep that `actor.by` took the operation over. Whether that person holds the privilege is noted, not asked for: who came, came."""
        live = await self._hospital(actor)
        _known(live, actor.by, (StaffStatus.ACTIVE,))
        async with self._database.write(actor.hospital) as connection:
            one, now = await _found(connection, actor, override_id), datetime.now(UTC)
            if actor.by in one.operators:
                raise _wrong("by", "is_replaced", f"{actor.by} 即被接替者 / {actor.by} is who is to be replaced")
            state = _after(one, OverrideAction.TAKEOVER)
            done = await _done_at(connection, one, at, now)
            privileged = is_privileged(live, await store.order_of(connection, one), one, actor.by, now)
            step = Step(
                one.id,
                OverrideAction.TAKEOVER,
                state,
                actor.by,
                done,
                _text(now),
                actor.key_id,
                note=note,
                detail={"privileged": privileged},
            )
            await self._take(connection, live, one, step, {"taken_over_by": actor.by}, now)

    async def review(self, actor: Actor, override_id: str, *, outcome: OverrideAction | None, note: str) -> None:
        """Begin a review, reopen a closed one, or end one with `outcome`. To reopen and to end takes reasons.

        Raises also:
            NotAllowed: the person took part, by any document of the case.
        """
        live = await self._hospital(actor)
        _known(live, actor.by, (StaffStatus.ACTIVE,))
        if outcome is not None:
            _reasoned(note)
        async with self._database.write(actor.hospital) as connection:
            one, now = await _found(connection, actor, override_id), datetime.now(UTC)
            if actor.by in await participants_of(connection, one):
                raise NotAllowed(f"{actor.by} 参与了本例，不得审查 / {actor.by} took part and must not review it")
            action = outcome or (OverrideAction.REOPEN if one.state in CLOSED else OverrideAction.BEGIN_REVIEW)
            state = _after(one, action)
            changed: dict[str, Any] = {}
            if action is OverrideAction.REOPEN:
                _reasoned(note)
                changed["review_due_at"] = _text(_review_due(live, now))
            step = Step(one.id, action, state, actor.by, _text(now), _text(now), actor.key_id, note=note, detail=changed or None)
            await self._take(connection, live, one, step, changed, now)

    async def _hospital(self, actor: Actor) -> LiveHospital:
        return await self._live.hospital(actor.hospital)

    async def _take(
        self, connection: AsyncConnection, live: LiveHospital, one: Stored, step: Step, changed: Mapping[str, Any], now: datetime
    ) -> None:
        told = told_of(live, one._replace(**changed), step.state, step.action, step.by, to=step.to, note=step.note)
        await store.take_step(connection, one, step, changed, self._notify(live, told, now))


async def participants_of(connection: AsyncConnection, one: Stored) -> tuple[str, ...]:
    """The staff numbers of everybody who took part: whoever any document of the case names, whenever it came, and who took over."""
    named = {*one.participants, *([one.taken_over_by] if one.taken_over_by else [])}
    for body in await store.documents_of(connection, one.hospital, one.case_id):
        named.update(named_in(document_of(body)))
    return tuple(sorted(named))


async def _found(connection: AsyncConnection, actor: Actor, override_id: str) -> Stored:
    one = await store.find(connection, actor.hospital, override_id)
    if one is None:
        raise NotFound("没有此越级急诊手术 / no such override")
    return one


def _after(one: Stored, action: OverrideAction) -> OverrideState:
    state = after(one.state, action, reported=one.reported)
    if state is None:
        raise StepRefused(one, action)
    return state


async def _done_at(connection: AsyncConnection, one: Stored, at: datetime | None, now: datetime) -> str:
    """When it was done, as told; now where that is left out. People tell minutes: the minute of the declaration counts as after it."""
    if at is None:
        return _text(now)
    since = earliest(document_of(await store.order_of(connection, one)), datetime.fromisoformat(one.at)).replace(second=0, microsecond=0)
    if at < since:
        raise _wrong("at", "before_declaration", f"早于紧急声明 / before the declaration ({since.isoformat()})")
    if at > now + CLOCKS_DIFFER:
        raise _wrong("at", "in_future", "晚于当前时间 / in the future")
    return _text(at.astimezone(UTC))


def _known(live: LiveHospital, number: str, standing: tuple[StaffStatus, ...]) -> None:
    row = live.matrix.person(number)
    if row is None:
        raise _wrong("by", "unknown_staff", f"人员表中没有工号 {number} / no staff number {number}")
    if row.staff.status not in standing:
        raise _wrong("by", "not_active", f"{number} 当前状态为 {row.staff.status} / {number} is {row.staff.status}")


def _reasoned(note: str) -> None:
    """A verdict and a reopening say why, in words that tell something."""
    if len(note) < MIN_REASON_CHARS or is_canned(note):
        text = f"须写明理由（至少{MIN_REASON_CHARS}个字，言之有物） / give the reasons, at least {MIN_REASON_CHARS} characters that tell something"
        raise _wrong("note", "no_reason", text)


def _review_due(live: LiveHospital, now: datetime) -> datetime:
    """As at the opening: working days from today, at the close of the office."""
    hours, zone = live.hospital.office_hours, live.hospital.time_zone
    last = add_working_days(now.astimezone(zone).date(), live.hospital.policy.review_due_working_days, hours)
    return closing_time(last, hours, zone)


def _wrong(field: str, code: str, message: str) -> BadInput:
    return BadInput([FieldError(field, code, message)])


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")

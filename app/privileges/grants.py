"""A grant's life: added, suspended, resumed, revoked, renewed. Each is one transaction with its row in the change log.

    (none) ── add ──> active ── suspend ──> suspended ── resume ──> active
                        └─────── revoke ───────┴──> revoked, which is final

A step that the state does not allow is a `Conflict`. That goes for a second suspend as well: of two at once one makes the change, the other
is refused, and both return when it is in force. What a file suspended may be suspended by hand too, so that no file undoes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cache.live import Live
from app.cache.live_hospital import LiveHospital
from app.engine.model import Grant, GrantState
from app.engine.reach import StillCovering, held_back, still_covering
from app.errors import BadInput, Conflict, FieldError, NotFound
from app.privileges.changing import Author, make
from app.privileges.columns import UNKNOWN, read_grant
from app.store import grants, staff
from app.store.changes import Change
from app.store.database import Database
from app.store.grants import StoredGrant

KIND = "grant"
MAX_NAMED = 20
"""Grants that a refusal names."""


class Step(StrEnum):
    """What may be done to a grant's state."""

    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"


_LEADS_TO = {Step.SUSPEND: GrantState.SUSPENDED, Step.RESUME: GrantState.ACTIVE, Step.REVOKE: GrantState.REVOKED}


class Changed(NamedTuple):
    """A grant after a change that is in force: the matrix version that it gave, and what else covers the scope."""

    stored: StoredGrant
    version: int
    still_covered_by: tuple[StillCovering, ...] = ()


class Renewal(msgspec.Struct, frozen=True):
    """What a renewal sets; UNSET stays as it is. `valid_to` None: open."""

    valid_to: date | UnsetType | None = UNSET
    last_evaluated: date | UnsetType | None = UNSET


class Grants:
    """The grants of all hospitals, as the office changes them."""

    def __init__(self, database: Database, live: Live) -> None:
        self._database = database
        self._live = live

    async def add(self, author: Author, columns: Mapping[str, object], *, confirmed: bool) -> Changed:
        """Add a grant given by the columns of `grants.csv`. `confirmed`: also where the person holds the scope suspended or revoked.

        Raises:
            BadInput: a column is wrong, or names what is unknown here.
            Conflict: the same grant is there, or the scope is held suspended or revoked and that was not confirmed.
        """
        live = await self._fresh(author.hospital)
        grant = read_grant(columns, live.hospital, {number: person.staff.name for number, person in live.people.items()})

        async def work(connection: AsyncConnection) -> tuple[StoredGrant, Change]:
            if await staff.find(connection, author.hospital, grant.staff) is None:
                raise BadInput([FieldError("staff", UNKNOWN, f"人员表中没有工号“{grant.staff}” / no such staff number: {grant.staff}")])
            held = await grants.of_person(connection, author.hospital, grant.staff)
            earlier = await _same(connection, author.hospital, grant, held)
            if grant.state is GrantState.ACTIVE and not confirmed:
                _refuse_what_is_held_back(await asyncio.to_thread(held_back, grant, [s.grant for s in held], live.compiled, _today(live)))
            id_ = earlier.grant.id if earlier is not None else grant.id
            stored = StoredGrant(replace(grant, id=id_), state_by_hand=grant.state is not GrantState.ACTIVE)
            write = grants.add if earlier is None else grants.put
            await write(connection, author.hospital, stored)
            return stored, author.change(KIND, id_, "add", earlier, stored, (grant.staff,))

        return Changed(*await make(self._database, author.hospital, work))

    async def step(self, author: Author, grant_id: str, step: Step) -> Changed:
        """Suspend, resume or revoke a grant. Raises `NotFound`, and `Conflict` where its state does not allow that."""

        async def work(connection: AsyncConnection) -> tuple[tuple[StoredGrant, list[StoredGrant]], Change]:
            before = await _living(connection, author.hospital, grant_id)
            _refuse_step(before, step)
            grant = replace(before.grant, state=_LEADS_TO[step])
            after = StoredGrant(grant, state_by_hand=step is not Step.RESUME)
            await grants.put(connection, author.hospital, after)
            others = await grants.of_person(connection, author.hospital, grant.staff)
            return (after, others), author.change(KIND, grant_id, step.value, before, after, (grant.staff,))

        (stored, others), version = await make(self._database, author.hospital, work)
        if step is Step.RESUME:
            return Changed(stored, version)
        live = await self._fresh(author.hospital)
        living = [other.grant for other in others if not other.retired]
        # In a thread, as in `add`: tens of milliseconds in a large catalog, in which this worker's checks should not stand still.
        covering = await asyncio.to_thread(still_covering, stored.grant, living, live.compiled, _today(live))
        return Changed(stored, version, covering)

    async def renew(self, author: Author, grant_id: str, renewal: Renewal) -> Changed:
        """Set the last day, the last evaluation or both, and the document where one is given. The state stays: what is suspended stays so.

        Raises:
            NotFound: there is no such grant.
            BadInput: it would end before it begins.
            Conflict: it is revoked.
        """

        async def work(connection: AsyncConnection) -> tuple[StoredGrant, Change]:
            before = await _living(connection, author.hospital, grant_id)
            if before.grant.state is GrantState.REVOKED:
                raise _final(before.grant)
            after = replace(before, grant=_renewed(before.grant, renewal, author.document_no))
            await grants.put(connection, author.hospital, after)
            return after, author.change(KIND, grant_id, "renew", before, after, (before.grant.staff,))

        return Changed(*await make(self._database, author.hospital, work))

    async def _fresh(self, hospital: str) -> LiveHospital:
        return await self._live.hospital(hospital)


def _today(live: LiveHospital) -> date:
    return datetime.now(UTC).astimezone(live.compiled.time_zone).date()


async def _living(connection: AsyncConnection, hospital: str, grant_id: str) -> StoredGrant:
    """The grant of that id. Raises `NotFound`, and `Conflict` where a file left it out."""
    stored = await grants.find(connection, hospital, grant_id)
    if stored is None:
        raise NotFound(f"没有授权 {grant_id} / no grant {grant_id}")
    if stored.retired:
        raise Conflict(f"授权 {grant_id} 已不在授权表中 / grant {grant_id} was left out when a file replaced the matrix")
    return stored


def _refuse_step(stored: StoredGrant, step: Step) -> None:
    """Raises `Conflict` where the state does not allow the step."""
    grant = stored.grant
    if grant.state is GrantState.REVOKED:
        raise _final(grant)
    again = grant.state is _LEADS_TO[step]
    only_by_file = step is Step.SUSPEND and not stored.state_by_hand
    if again and not only_by_file:
        raise Conflict(f"授权 {grant.id} 当前状态已是 {grant.state} / grant {grant.id} is {grant.state} already")


def _final(grant: Grant) -> Conflict:
    return Conflict(f"授权 {grant.id} 已撤销，不可更改 / grant {grant.id} is revoked, which is final")


def _renewed(grant: Grant, renewal: Renewal, document_no: str) -> Grant:
    last = grant.valid_to if isinstance(renewal.valid_to, UnsetType) else renewal.valid_to
    evaluated = grant.last_evaluated if isinstance(renewal.last_evaluated, UnsetType) else renewal.last_evaluated
    if last is not None and last < grant.valid_from:
        text = f"授权截止 {last} 早于授权起始 {grant.valid_from} / it would end on {last}, before it begins on {grant.valid_from}"
        raise BadInput([FieldError("valid_to", "invalid", text)])
    return replace(grant, valid_to=last, last_evaluated=evaluated, document_no=document_no or grant.document_no)


async def _same(connection: AsyncConnection, hospital: str, grant: Grant, held: list[StoredGrant]) -> StoredGrant | None:
    """The grant that is identified like a new one where a file left it out, so that it can come back. Raises `Conflict` where it is there, or
    revoked."""
    same = next((s for s in held if _identity(s.grant) == _identity(grant)), None) or await grants.find(connection, hospital, grant.id)
    if same is None or (same.retired and same.grant.state is not GrantState.REVOKED):
        return same
    raise Conflict(
        f"相同的授权已存在：{same.grant.id}（{same.grant.state}） / the same grant is there: {same.grant.id} ({same.grant.state})"
    )


def _identity(grant: Grant) -> tuple[object, ...]:
    return grant.staff, grant.scope_type, grant.scope, grant.department, grant.role, grant.valid_from


def _refuse_what_is_held_back(held: tuple[Grant, ...]) -> None:
    if held:
        named = ", ".join(f"{g.id} ({g.scope_type}:{g.scope} {g.state})" for g in held[:MAX_NAMED])
        raise Conflict(
            f"该人员此范围的授权已暂停或撤销：{named}；如确需重新授权，请带 confirm: true 再次提交 / "
            f"the person holds this scope suspended or revoked: {named}; send confirm: true to grant it again"
        )


__all__ = ["Changed", "Grants", "Renewal", "Step"]

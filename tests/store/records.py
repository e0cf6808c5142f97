"""Decisions as the journal gets them, and a database that can be away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.engine.model import Checkpoint, PastDecision, PastProcedure, Verdict
from app.store.database import Database
from app.store.decided import Record, RequestKey
from app.store.outbox import Notice
from app.store.overrides import Opening

HOSPITAL = "wahh"


def a_record(request_id: str, **changes: Any) -> Record:
    """A decision; its id is made of its request's unless told."""
    made = Record(
        id=f"d-{request_id}",
        key=RequestKey(HOSPITAL, "his", request_id),
        content=f"content of {request_id}".encode(),
        at="2026-11-22T01:14:03.120000+00:00",
        day="2026-11-22",
        checkpoint="order",
        case_id=f"C-{request_id}",
        patient_id="P-1",
        decision="allow",
        matrix_version=1,
        engine_version="1",
        policy_version="1",
        key_id="k",
        order=b'{"order": 1}',
        answer=f'{{"decision_id":"d-{request_id}","replayed":false}}'.encode(),
        past=PastDecision(Checkpoint.ORDER, Verdict.ALLOW, (PastProcedure("35.71001", "100007"),)),
        terms=(("code", "35.71001"), ("department", "胸心外科")),
        new_case=True,
    )
    return made._replace(**changes)


def an_opening(request_id: str) -> Opening:
    """The override that goes with `a_record(request_id)`."""
    return Opening(
        id=f"o-{request_id}",
        decision_id=f"d-{request_id}",
        case_id=f"C-{request_id}",
        at="2026-11-22T01:14:03.120000+00:00",
        day="2026-11-22",
        hour=9,
        department="胸心外科",
        declared_by="100001",
        reason_code="trauma",
        reason="车祸伤",
        reported_to="",
        reported_at=None,
        late=False,
        review_due_at="2026-11-25T01:14:03.120000+00:00",
        flags=("late",),
        participants=("100007",),
        operators=("100007",),
        codes=("35.71001",),
        key_id="k",
        patterns={"repeated": []},
        notices=(Notice("target", "open", b'{"event": "open"}'),),
    )


class Faulty(Database):
    """A database that can be made to fail, to hang, or to refuse."""

    def __init__(self, url: str, faults: Faulty | None = None) -> None:
        """`faults`: the database that it shares its faults with."""
        super().__init__(url, at_once=faults is not None)
        self._faults = faults or self
        self._where = url
        self.failing = self.hanging = self.commits_hang = False
        self.asked = 0

    def apart(self, tell: Callable[..., object]) -> Database:
        return Faulty(self._where, self)

    def hang(self) -> None:
        """From now on nothing is answered."""
        self.hanging = True

    def go_on(self) -> None:
        """What hung goes on."""
        self.hanging = False

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        await self._fault()
        async with super().read() as connection:
            yield connection

    @asynccontextmanager
    async def write(self, *given: Any) -> AsyncIterator[AsyncConnection]:
        if not self._faults.commits_hang:
            await self._fault()
        async with super().write(*given) as connection:
            yield connection
        if self._faults.commits_hang:
            await self._fault()

    async def _fault(self) -> None:
        faults = self._faults
        faults.asked += 1
        if faults.failing:
            raise OperationalError("SELECT 1", {}, Exception("away"))
        while faults.hanging:  # noqa: ASYNC110 - waited for in the loops of several threads
            await asyncio.sleep(0.002)

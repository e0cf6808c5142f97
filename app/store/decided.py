"""A decision on its way into the record: what is kept of it, what makes its request the same request, what an earlier one was answered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from app.engine.model import CaseHistory, PastDecision
from app.errors import Overloaded
from app.store.overrides import Opening


class NotRecorded(Overloaded):
    """The record cannot be written anywhere: the check is not answered."""


class CaseTaken(Exception):
    """The case's first decision was recorded meanwhile, for another patient: what was judged did not see it. To be judged again."""


class RequestKey(NamedTuple):
    """What makes a request the same request."""

    hospital: str
    client: str
    request_id: str


class Earlier(NamedTuple):
    """An earlier answer under the same request id, and the hash of what was asked."""

    content: bytes
    answer: bytes


class Record(NamedTuple):
    """One decision, as it is kept. `terms` are what it can be found by: (kind, value); `new_case`: it was judged as the first of its case;
    `opening`: the override that is opened with it; `emergency`: it is kept where there is room for nothing else; `repeats`: see the column."""

    id: str
    key: RequestKey
    content: bytes
    at: str
    day: str
    checkpoint: str
    case_id: str
    patient_id: str
    decision: str
    matrix_version: int | None
    engine_version: str
    policy_version: str
    key_id: str
    order: bytes
    answer: bytes
    past: PastDecision
    terms: tuple[tuple[str, str], ...]
    new_case: bool = False
    opening: Opening | None = None
    emergency: bool = False
    repeats: str | None = None


class Before(NamedTuple):
    """What a check must know before it judges: an earlier answer, or the case so far. `complete`: the database was read; otherwise the history is
    what this node knows of the case."""

    earlier: Earlier | None
    history: CaseHistory | None
    complete: bool = True


class Judged(NamedTuple):
    """A decision as far as its case goes."""

    id: str
    at: str
    patient_id: str
    past: PastDecision


class Kept(NamedTuple):
    """A decision as far as retries and its case go."""

    id: str
    key: RequestKey
    content: bytes
    answer: bytes
    case_id: str
    at: str
    patient_id: str
    past: PastDecision

    @classmethod
    def of(cls, record: Record) -> Kept:
        """That of a record."""
        return cls(record.id, record.key, record.content, record.answer, record.case_id, record.at, record.patient_id, record.past)

    @property
    def earlier(self) -> Earlier:
        """What a retry is answered."""
        return Earlier(self.content, self.answer)

    @property
    def judged(self) -> Judged:
        """What its case is told."""
        return Judged(self.id, self.at, self.patient_id, self.past)


def case_history(recorded: Iterable[Judged], journaled: Iterable[Judged] = ()) -> CaseHistory | None:
    """A case so far, from what was recorded of it, in that order, and what waits in the journal, which came after; None: nothing. A decision may be
    in both. The order is not told by instants: clocks are set back.

    A case stays with its first patient: what an emergency brought under its id for another one is not the case's.
    """
    every = {one.id: one for one in recorded} | {one.id: one for one in journaled}
    if not every:
        return None
    patient = next(iter(every.values())).patient_id
    return CaseHistory(patient, tuple(one.past for one in every.values() if one.patient_id == patient))

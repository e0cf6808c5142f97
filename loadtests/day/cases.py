"""The cases of the day: what is sent at each checkpoint, and what must come back."""

from __future__ import annotations

import itertools
import json
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from loadtests.day.hospital import Hospital, Lacking, Placed, Procedure

DENIED_SHARE = 0.12
"""Of the day's orders, those that somebody without the privilege, or another department, asks for."""

SENT_ON_SHARE = 0.25
"""Of the denied orders, those whose notice is sent all the same."""

DIAGNOSIS = "Q21.100"
"""Some diagnosis, so that nothing is denied for want of one."""

FIRST_HOUR, LAST_HOUR = 8, 17
"""Hours of the day between which operations are planned."""

DECLARED = {"lifesaving": True, "no_privileged_operator": True, "reason_code": "other"}


class Emergency(StrEnum):
    """How an emergency comes: with somebody who may, beyond the privilege with a declaration, or with one that lacks its reason."""

    PRIVILEGED = "privileged"
    DECLARED = "declared"
    INCOMPLETE = "incomplete"


EMERGENCIES = {Emergency.PRIVILEGED: 5, Emergency.DECLARED: 4, Emergency.INCOMPLETE: 1}
"""How many of ten come in which way."""


class Expected(NamedTuple):
    """What must come back. `reasons`: one of them is among the findings (empty: any may be); `missing`: fields that the declaration lacks."""

    decision: str
    reasons: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()


@dataclass
class Case:
    """One operation of one patient. `decided`: what came back for each checkpoint, in their order."""

    id: str
    patient: str
    procedure: Procedure
    operator: str
    assistant: str | None
    department: str
    start: str | None
    anesthesiologist: Placed
    perfusionist: Placed | None
    expected: Expected
    emergency: Mapping[str, Any] | None = None
    urgent: bool = False
    decided: dict[str, dict[str, Any]] = field(default_factory=dict)


class Check(NamedTuple):
    """A document of a case as it is sent, and what must come back."""

    case: Case
    checkpoint: str
    body: dict[str, Any]
    content: bytes
    expected: Expected


class Maker:
    """Makes cases of a hospital. `run`: what the ids of this run begin with, so that none comes twice in a store."""

    def __init__(self, hospital: Hospital, run: str, chance: random.Random) -> None:
        self._hospital = hospital
        self._run = run
        self._chance = chance
        self._numbers = itertools.count(1)
        self._denials = [procedure for procedure in hospital.procedures if procedure.lacking]
        self._liftable = [p for p in hospital.procedures if any(lacking.liftable for lacking in p.lacking)]
        self._elsewhere = [procedure for procedure in hospital.procedures if procedure.elsewhere]

    def elective(self) -> Case:
        """A case that is planned for tomorrow; mostly one that is allowed."""
        if self._chance.random() >= DENIED_SHARE:
            procedure = self._chance.choice(self._hospital.procedures)
            return self._case(procedure, self._chance.choice(procedure.able), Expected("allow"))
        if self._elsewhere and self._chance.random() < 0.3:
            procedure = self._chance.choice(self._elsewhere)
            case = self._case(procedure, self._chance.choice(procedure.able), Expected("deny", frozenset({"department_not_listed"})))
            case.department = procedure.elsewhere
            return case
        procedure = self._chance.choice(self._denials)
        lacking = self._chance.choice(procedure.lacking)
        return self._case(procedure, lacking.staff, Expected("deny", lacking.reasons))

    def emergency(self) -> Case:
        """A case that begins now."""
        kinds = list(EMERGENCIES)
        (kind,) = self._chance.choices(kinds, list(EMERGENCIES.values()))
        if kind is Emergency.PRIVILEGED or not self._liftable:
            procedure = self._chance.choice(self._hospital.procedures)
            case = self._case(procedure, self._chance.choice(procedure.able), Expected("allow"))
        else:
            procedure = self._chance.choice(self._liftable)
            lacking: Lacking = self._chance.choice([one for one in procedure.lacking if one.liftable])
            declared = DECLARED | {"declared_by": lacking.staff}
            if kind is Emergency.DECLARED:
                case = self._case(procedure, lacking.staff, Expected("override", lacking.reasons))
                case.emergency = declared | {"reason": f"{case.id} 患者病情危急，有权限医师不在院内"}
            else:
                case = self._case(procedure, lacking.staff, Expected("deny", lacking.reasons, ("reason",)))
                case.emergency = declared
        case.start, case.urgent = None, True
        return case

    def some_procedure(self) -> Procedure:
        """One of those that are operated on."""
        return self._chance.choice(self._hospital.procedures)

    def _case(self, procedure: Procedure, operator: str, expected: Expected) -> Case:
        number = next(self._numbers)
        others = [staff for staff in procedure.able if staff != operator]
        hour, minute = self._chance.randint(FIRST_HOUR, LAST_HOUR), self._chance.randrange(0, 60, 5)
        midnight = f"{self._hospital.surgery_day.isoformat()}T{hour:02}:{minute:02}:00"
        offset = self._hospital.zone.tzname(None).removeprefix("UTC") or "+00:00"
        return Case(
            id=f"{self._run}-{number}",
            patient=f"P-{self._run}-{number}",
            procedure=procedure,
            operator=operator,
            assistant=self._chance.choice(others) if others else None,
            department=procedure.department,
            start=midnight + offset,
            anesthesiologist=self._chance.choice(self._hospital.anesthesiologists),
            perfusionist=self._chance.choice(self._hospital.perfusionists) if procedure.bypass else None,
            expected=expected,
        )


def check(case: Case, checkpoint: str) -> Check:
    """The document of a case at a checkpoint. Where the one before was denied, this one must be denied for that as well."""
    before = {"notice": "order", "anesthesia": "notice"}.get(checkpoint, "")
    expected = case.expected
    if not case.urgent and case.decided.get(before, {}).get("decision") == "deny":
        expected = Expected("deny", frozenset({"upstream_denied"}))
    body = _body(case, checkpoint)
    return Check(case, checkpoint, body, json.dumps(body, ensure_ascii=False).encode(), expected)


def _body(case: Case, checkpoint: str) -> dict[str, Any]:
    team = [] if case.assistant is None else [{"staff": case.assistant, "role": "first_assistant"}]
    body: dict[str, Any] = {
        "request_id": f"{case.id}-{checkpoint}",
        "checkpoint": checkpoint,
        "case_id": case.id,
        "department": case.department,
        "urgency": "emergency" if case.urgent else "elective",
        "requester": case.operator,
        "patient": {"id": case.patient},
        "diagnoses": [DIAGNOSIS],
        "procedures": [{"code": case.procedure.code, "operator": case.operator}],
        "team": team,
        "evidence": {"mdt": f"MDT-{case.id}", "major_approval": f"ZD-{case.id}", "special_approval": f"TS-{case.id}"},
        "emergency": case.emergency,
    }
    if case.start is not None:
        body["planned_start"] = case.start
    if checkpoint == "anesthesia":
        body["anesthesia"] = {"asa": min(3, case.anesthesiologist.grade)}
        team.append({"staff": case.anesthesiologist.staff, "role": "anesthesiologist"})
        if case.perfusionist is not None:
            body["perfusion"] = {"grade": case.perfusionist.grade}
            team.append({"staff": case.perfusionist.staff, "role": "perfusionist"})
    return body


class Desk:
    """Where the cases lie between their checkpoints. One caller at a time has a case; one that got no answer is not gone on with."""

    def __init__(self, maker: Maker, chance: random.Random) -> None:
        self.maker = maker
        self._chance = chance
        self._for_notice: deque[Case] = deque()
        self._for_anesthesia: deque[Case] = deque()
        self._closed: list[Case] = []
        self.reached: dict[str, int] = {}

    def notices(self, count: int) -> list[Case]:
        """Up to so many cases whose notice is due."""
        return [self._for_notice.popleft() for _ in range(min(count, len(self._for_notice)))]

    def for_anesthesia(self) -> Case | None:
        return self._for_anesthesia.popleft() if self._for_anesthesia else None

    def closed(self) -> Case | None:
        """A case that nothing more comes for, whose record can be looked at."""
        return self._chance.choice(self._closed) if self._closed else None

    def put(self, done: Check, answer: dict[str, Any]) -> None:
        """A check was answered: the case goes on to where it belongs."""
        case = done.case
        case.decided[done.checkpoint] = answer
        self.reached[done.checkpoint] = self.reached.get(done.checkpoint, 0) + 1
        denied = answer["decision"] == "deny"
        if done.checkpoint == "order" and not case.urgent and (not denied or self._chance.random() < SENT_ON_SHARE):
            self._for_notice.append(case)
        elif done.checkpoint == "notice" and not denied:
            self._for_anesthesia.append(case)
        elif not (case.urgent and done.checkpoint == "order"):
            self._closed.append(case)

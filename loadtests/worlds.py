"""A made-up hospital of any number of grants, the questions asked of it and the orders placed in it.

Everything is the same on every run. The catalog is that of a large hospital whatever the number of grants; surgeons of 100 grants each
make up the number. Codes, items and departments lie so that one question, "may this surgeon do this code", has one answer for everybody:
each code is one entry of a department, and a surgeon orders for the own department.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from app.engine.matrix import Matrix
from app.engine.model import (
    Anesthesia,
    Checkpoint,
    Credential,
    Entry,
    Evidence,
    Grant,
    GrantState,
    Hospital,
    Identify,
    MatrixState,
    Order,
    Patient,
    Person,
    Procedure,
    ScopeType,
    Staff,
    StaffKind,
    TeamMember,
    TeamRole,
    Technology,
    TechnologyKind,
    Urgency,
)

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
"""When the orders come in, by the clock of a service."""

START = datetime(2026, 11, 23, 8, 0, tzinfo=timezone(timedelta(hours=8)))
"""When the operations are planned for, with an offset as it is read from the wire."""

DEPARTMENTS = ("胸心外科", "普通外科", "骨科", "神经外科", "泌尿外科", "妇科", "耳鼻喉科", "眼科", "心内科", "整形外科")
ENTRIES = 2_000
"""Codes in the catalog, as many as a large hospital's."""

GRANTS_EACH = 100
"""Grants of one surgeon: half of the department's codes."""

TECHNOLOGY_EVERY = 50
"""One code in 50 is a restricted or a key technology, which asks for training."""

SHARED_EVERY = 10
"""One entry in 10 belongs to the next department as well."""

LAPSED_EVERY = 50
"""One grant in 50 is suspended, revoked or expired."""

GRANTS_PER_HELPER = 4_000
"""One anesthesiologist and one resident for so many grants; two of each at least."""

ASA = 3


class Shape(NamedTuple):
    """What a hospital is like, the number of its grants aside. `grants_each`: at most as many as a department has codes."""

    entries: int = ENTRIES
    technology_every: int = TECHNOLOGY_EVERY
    grants_each: int = GRANTS_EACH


LARGE = Shape()
"""A large hospital."""


class Question(NamedTuple):
    """What every contestant is asked: may this surgeon do this code? `allowed` is the right answer."""

    surgeon: str
    department: str
    code: str
    allowed: bool


# ------------------------------------------------------------------------------------------------ the hospital


def hospital(shape: Shape = LARGE, code: str = "bench") -> Hospital:
    """The catalog and its technologies."""
    entries = tuple(_entry(index, shape.entries // len(DEPARTMENTS)) for index in range(shape.entries))
    technologies = tuple(_technology(entry) for index, entry in enumerate(entries) if _is_technology(index, shape))
    return Hospital(code=code, name="基准医院", time_zone=ZONE, entries=entries, technologies=technologies)


def _entry(index: int, entries_each: int) -> Entry:
    level, own = index % 4 + 1, index // entries_each
    shared = index % SHARED_EVERY == 0
    return Entry(
        code=f"{10 + index // 100 % 90}.{index % 100:02}{index // 9_000:02}x{index % 9 + 1:03}",
        name=f"手术{index}",
        level=level,
        departments=(DEPARTMENTS[own], DEPARTMENTS[(own + 1) % len(DEPARTMENTS)]) if shared else (DEPARTMENTS[own],),
        service=f"A{index:09}",
        hospital_grade=f"{level}.{index % 5 + 1}",
        item=f"W{index:04}",
    )


def _is_technology(index: int, shape: Shape) -> bool:
    return index % shape.technology_every == shape.technology_every // 2


def _technology(entry: Entry) -> Technology:
    return Technology(
        id=f"T-{entry.item}",
        name=f"{entry.name}技术",
        kind=TechnologyKind.RESTRICTED_NATIONAL if entry.level > 2 else TechnologyKind.KEY,
        identify=(Identify(codes=frozenset({entry.code})),),
        assessed_on=date(2022, 6, 1),
        filed_on=date(2022, 7, 1),
    )


# ------------------------------------------------------------------------------------------------ the people


def people(of: Hospital, grants: int, shape: Shape = LARGE) -> Iterator[Person]:
    """Surgeons who together hold `grants` grants (a multiple of those of one), and a few anesthesiologists and residents."""
    for number in range(grants // shape.grants_each):
        yield _surgeon(of, number, shape)
    for number in range(_helpers(grants)):
        yield _anesthesiologist(number)
        yield Person(_staff(f"3{number:05}", DEPARTMENTS[number % len(DEPARTMENTS)], StaffKind.RESIDENT))


def matrix(of: Hospital, grants: int) -> Matrix:
    """The same people, compiled."""
    return Matrix(people(of, grants), MatrixState(version=1, as_of=NOW))


def _helpers(grants: int) -> int:
    return max(2, grants // GRANTS_PER_HELPER)


def _surgeon(of: Hospital, number: int, shape: Shape) -> Person:
    staff, own = f"1{number:05}", number % len(DEPARTMENTS)
    indexes = Random(number).sample(_of_department(of, own), shape.grants_each)
    return Person(
        _staff(staff, DEPARTMENTS[own], StaffKind.PHYSICIAN),
        grants=tuple([_grant(of.entries[index], staff, number * shape.grants_each + place) for place, index in enumerate(indexes)]),
        credentials=tuple(
            Credential(staff=staff, technology=f"T-{of.entries[index].item}", kind="training", issued_on=date(2022, 1, 1))
            for index in indexes
            if _is_technology(index, shape)
        ),
    )


def _of_department(of: Hospital, own: int) -> range:
    """The catalog's entries of one department."""
    each = len(of.entries) // len(DEPARTMENTS)
    return range(own * each, (own + 1) * each)


def _grant(entry: Entry, staff: str, number: int) -> Grant:
    """Every other grant names the item instead of the code."""
    by_item, lapsed = number % 2 == 0, number % LAPSED_EVERY == 0
    states = (GrantState.ACTIVE, GrantState.SUSPENDED, GrantState.REVOKED)
    state = states[number // LAPSED_EVERY % 3] if lapsed else GrantState.ACTIVE
    return Grant(
        id=f"G-{number}",
        staff=staff,
        scope_type=ScopeType.ITEM if by_item else ScopeType.CODE,
        scope=entry.item if by_item else entry.code,
        department=entry.departments[0] if number % 3 == 0 else "",
        valid_from=date(2025, 3, 1),
        valid_to=date(2026, 2, 28) if lapsed and state is GrantState.ACTIVE else date(2028, 2, 29),
        last_evaluated=date(2026, 3, 1),
        state=state,
    )


def _anesthesiologist(number: int) -> Person:
    staff = f"2{number:05}"
    grant = Grant(id=f"A-{number}", staff=staff, scope_type=ScopeType.ASA, scope=str(3 + number % 3), valid_from=date(2025, 3, 1))
    return Person(_staff(staff, "麻醉科", StaffKind.ANESTHESIOLOGIST), grants=(grant,))


def _staff(staff: str, department: str, kind: StaffKind) -> Staff:
    return Staff(staff=staff, name=f"人员{staff}", department=department, kind=kind, title="主治医师", license_no=f"L-{staff}")


# ------------------------------------------------------------------------------------------------ the questions


def codes_in_force(of: Hospital, everybody: Iterable[Person]) -> dict[str, tuple[str, ...]]:
    """Each surgeon's codes whose grants are in force on the day of surgery: what the peers are told, who then needn't look at dates."""
    by_scope = {entry.code: entry.code for entry in of.entries} | {entry.item: entry.code for entry in of.entries}
    day = START.date()
    return {
        person.staff.staff: tuple(
            by_scope[g.scope] for g in person.grants if g.state is GrantState.ACTIVE and (g.valid_to is None or g.valid_to >= day)
        )
        for person in everybody
        if person.staff.kind is StaffKind.PHYSICIAN
    }


def questions(of: Hospital, held: dict[str, tuple[str, ...]], count: int) -> list[Question]:
    """Shuffled questions about surgeons all over the matrix, half of them allowed."""
    rng = Random(count)
    surgeons = [surgeon for surgeon, codes in held.items() if codes]
    asked = [_question(rng, of, held, rng.choice(surgeons), allowed=place % 2 == 0) for place in range(count)]
    rng.shuffle(asked)
    return asked


def _question(rng: Random, of: Hospital, held: dict[str, tuple[str, ...]], surgeon: str, *, allowed: bool) -> Question:
    own = int(surgeon[1:]) % len(DEPARTMENTS)
    codes = held[surgeon]
    if allowed:
        code = rng.choice(codes)
    else:
        indexes = _of_department(of, own)
        code = next(c for c in iter(lambda: of.entries[rng.choice(indexes)].code, "") if c not in codes)
    return Question(surgeon, DEPARTMENTS[own], code, allowed)


# ------------------------------------------------------------------------------------------------ the orders


def lone_order(question: Question, number: int) -> Order:
    """The order that asks a question and nothing beside it: one procedure, no team."""
    return _order(question, number, team=())


def typical_orders(of_questions: Sequence[Question], grants: int, shape: Shape = LARGE) -> list[Order]:
    """Orders of one procedure and three team members; all but the operator's privilege is in order."""
    surgeons, helpers = grants // shape.grants_each, _helpers(grants)
    rng = Random(grants)
    return [
        _order(
            question,
            number,
            team=(
                TeamMember(f"1{rng.randrange(surgeons):05}", TeamRole.FIRST_ASSISTANT),
                TeamMember(f"3{rng.randrange(helpers):05}", TeamRole.SECOND_ASSISTANT),
                TeamMember(f"2{rng.randrange(helpers):05}", TeamRole.ANESTHESIOLOGIST),
            ),
        )
        for number, question in enumerate(of_questions)
    ]


def _order(question: Question, number: int, team: tuple[TeamMember, ...]) -> Order:
    return Order(
        request_id=f"R-{number}",
        checkpoint=Checkpoint.ORDER,
        case_id=f"C-{number}",
        department=question.department,
        urgency=Urgency.ELECTIVE,
        patient=Patient(id=f"P-{number}", birth_date=date(1960 + number % 40, 1, 1)),
        procedures=(Procedure(code=question.code, operator=question.surgeon),),
        planned_start=START,
        requester=question.surgeon,
        diagnoses=("Q21.100",),
        team=team,
        anesthesia=Anesthesia(asa=ASA) if team else None,
        evidence=Evidence(mdt="MDT-1"),
    )

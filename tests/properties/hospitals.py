"""Small random hospitals, people, orders and histories, rich in collisions.

Plain functions over a seeded `random.Random`: a seed is all that is needed to see a failure again, and thousands of cases take
seconds. Codes, items, departments, dates are drawn from small pools around one day, so that what is alike meets often: entries of one
code in several departments, aliases, combinations beside their parts, grants that almost cover, dates on either side of a limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from app.engine.codes import normalize_procedure
from app.engine.model import (
    STANDARD_FLAGS,
    TITLES,
    Anesthesia,
    ByCheckpoint,
    CaseHistory,
    Checkpoint,
    Credential,
    Declaration,
    Disposition,
    Duty,
    Entry,
    Evidence,
    Grant,
    GrantRole,
    GrantState,
    Hospital,
    Identify,
    OfficeHours,
    Order,
    Paediatric,
    PastDecision,
    PastProcedure,
    Patient,
    Perfusion,
    Person,
    Policy,
    Procedure,
    Qualification,
    Requalification,
    ScopeType,
    Staff,
    StaffKind,
    StaffStatus,
    TeamMember,
    TeamRole,
    Technology,
    TechnologyKind,
    Urgency,
    Verdict,
    Volume,
)
from app.engine.reasons import BY_CHECKPOINT, REASONS

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 23, 9, 14, tzinfo=ZONE)
DAY = NOW.date()
"""The day around which all dates lie. It is a Monday, after a short week."""

DEPARTMENTS = ("胸心外科", "小儿外科", "心内科")
ITEMS = ("WKJDXX2.1", "WKJDXX3.2", "WKJDXX4.1", "WKJDXX4.2")
SERVICES = ("A000001", "A000002")
NAMES = ("房间隔缺损修补术", "主动脉瓣置换术（机械瓣）", "射频消融术#")
NAMES_AS_SENT = (*NAMES, " 房间隔 缺损修补术", "主动脉瓣置换术(机械瓣)", "射频消融术", "别的手术")

NATIONAL = ("35.9500x006", "36.0600x001", "37.2600x001", "37.3400x001", "38.4500x001")
ALIASES = {
    "35.95001": "35.9500x006",
    "35.9500102": "35.9500x006",
    "36.06002": "36.0600x001",
    "37.26001": "37.2600x001",
    "37.34001": "37.3400x001",
}
COMBINATIONS = ("37.2600x001+37.3400x001", "37.26001+37.34001", "37.26001+38.4500x001", "37.26001+37.34001+38.4500x001")
UNKNOWN_CODES = ("99.9900x001", "37.26001+99.9900x001", "35.9500x006+36.06002", "37.2600x001+38.4500x001")
DIAGNOSES = (
    "C00.300x004",
    "C97",
    "C97.x00",
    "C98",
    "I21.000",
    "I21",
    "Q21.100",
    "D00.000",
    "C15.900+I21.000",
    "I25",
    "C00.3",
    "M80000/3",
    "q21.100",
)
LISTED_DIAGNOSES: tuple[tuple[str, str] | str, ...] = (("C00", "C97"), "I21", "I21.000", "Q21.100", ("I20", "I25"))

MAX_OPERATORS_LISTED = 10

NEAR_DAYS = (-800, -730, -400, -367, -366, -365, -364, -40, -24, -23, -22, -21, -20, -2, -1, 0, 1, 2, 30)

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """One random case: everything that a judgement takes."""

    hospital: Hospital
    people: Mapping[str, Person] | None
    order: Order
    history: CaseHistory | None
    now: datetime


def random_world(seed: int) -> World:
    """The case of a seed."""
    rng = Random(seed)
    hospital = random_hospital(rng)
    people = random_people(rng, hospital)
    order = random_order(rng, hospital, people)
    history = random_history(rng, order)
    now = NOW if _chance(rng, 0.8) else NOW + timedelta(hours=rng.choice((-9, -10, 14, 15, 24)))
    return World(hospital, None if _chance(rng, 0.03) else people, order, history, now.astimezone(rng.choice((UTC, ZONE))))


# ------------------------------------------------------------------------------------------------ drawing


def _chance(rng: Random, probability: float) -> bool:
    return rng.random() < probability


def _some(rng: Random, pool: Sequence[T], least: int, most: int) -> tuple[T, ...]:
    """That many different members of the pool, as many as it has."""
    return tuple(rng.sample(pool, min(len(pool), rng.randint(least, most))))


def _near(rng: Random) -> date:
    return DAY + timedelta(days=rng.choice(NEAR_DAYS))


def _perhaps_near(rng: Random, probability: float) -> date | None:
    return _near(rng) if _chance(rng, probability) else None


# ------------------------------------------------------------------------------------------------ the hospital


def random_hospital(rng: Random) -> Hospital:
    """A hospital with 4 to 8 codes, of several entries each, and a few technologies."""
    troubled = rng.random()
    codes = _some(rng, (*NATIONAL, *ALIASES), 3, 6) + _some(rng, COMBINATIONS, 1, 2)
    entries = [_entry(rng, code, codes, troubled) for code in codes for _ in range(rng.choice((1, 1, 2, 2, 3)))]
    if _chance(rng, 0.15):
        printed = rng.choice(entries)
        entries.append(printed if _chance(rng, 0.5) else replace(printed, source="第七章", category="简单先心"))
    aliases = dict(_some(rng, tuple(ALIASES.items()), 2, len(ALIASES)))
    if _chance(rng, 0.2):
        aliases["37.26001+37.34001"] = "37.2600x001+37.3400x001"
    technologies = [_technology(rng, f"T{number}", (*codes, *NATIONAL), troubled) for number in range(rng.randint(1, 4))]
    rng.shuffle(entries)
    zone = rng.choice((ZONE, ZONE, ZoneInfo("Asia/Urumqi"), UTC))
    return Hospital(
        code="h1",
        name="试验医院",
        time_zone=zone,
        entries=tuple(entries),
        aliases=aliases,
        technologies=tuple(technologies),
        policy=_policy(rng),
        paediatric=Paediatric(14, frozenset(_some(rng, DEPARTMENTS, 1, 2))) if _chance(rng, 0.4) else None,
        office_hours=OfficeHours(
            days=rng.choice((frozenset({1, 2, 3, 4, 5}), frozenset({1, 2, 3, 4, 5, 6}))),
            holidays=frozenset({date(2026, 10, 1), date(2026, 11, 20)}),
        ),
    )


def _entry(rng: Random, code: str, codes: Sequence[str], troubled: float) -> Entry:
    level = rng.choice((1, 2, 2, 3, 3, 4))
    flags = {flag for flag in ("major", "stopped", "bypass", "key") if _chance(rng, 0.08 * troubled)}
    return Entry(
        code=code,
        name=rng.choice(NAMES),
        level=level,
        departments=_some(rng, DEPARTMENTS, 0, 2) if _chance(rng, 0.6) else (DEPARTMENTS[0],),
        service=rng.choice(("", *SERVICES)),
        hospital_grade=rng.choice(("", f"{level}.1", f"{level}.2.1", f"{level}.10", f"{level}.2.1.A")),
        item=rng.choice(("", *ITEMS)),
        includes=_some(rng, (*ITEMS, *codes, *NATIONAL), 1, 2) if _chance(rng, 0.3) else (),
        flags=frozenset(flags),
    )


def _technology(rng: Random, name: str, codes: Sequence[str], troubled: float) -> Technology:
    """A technology; the calm ones are assessed and filed, as most are."""
    kind = rng.choice(tuple(TechnologyKind))
    if kind is TechnologyKind.PROHIBITED and _chance(rng, 0.5):
        kind = TechnologyKind.KEY
    calm = _chance(rng, 1 - 0.7 * troubled)
    return Technology(
        id=name,
        name=f"技术{name}",
        kind=kind,
        identify=tuple(_way(rng, codes) for _ in range(rng.choice((0, 1, 1, 1, 2)))),
        assessed_on=DAY - timedelta(days=400) if calm else _perhaps_near(rng, 0.8),
        filed_on=DAY - timedelta(days=390) if calm else _perhaps_near(rng, 0.4),
        first_case_on=_perhaps_near(rng, 0.5),
        team=_some(rng, _NUMBERS, 0, 4),
        grantable=_chance(rng, 0.6),
        stopped=_chance(rng, 0.08 * troubled),
        qualification=tuple(_qualification(rng, 2) for _ in range(rng.choice((0, 1, 1, 2)))),
    )


def _way(rng: Random, codes: Sequence[str]) -> Identify:
    by_combination = _chance(rng, 0.25)
    by_nothing = _chance(rng, 0.02)
    singles = [code for code in codes if _chance(rng, 0.7) or "+" not in code]
    return Identify(
        codes=frozenset(_some(rng, codes, 1, 2)) if not (by_combination or by_nothing) or _chance(rng, 0.5) else frozenset(),
        all_of=tuple(frozenset(_some(rng, singles, 1, 3)) for _ in range(2)) if by_combination else (),
        with_diagnoses=_some(rng, LISTED_DIAGNOSES, 1, 2) if _chance(rng, 0.35) else (),
        urgency=frozenset(_some(rng, tuple(Urgency), 1, 2)) if _chance(rng, 0.15) else frozenset(),
    )


def _qualification(rng: Random, depth: int) -> Qualification:
    """A table of a qualification; `depth` more may be nested in it. An exemption from training never asks for training itself."""

    def number(probability: float, *values: int) -> int | None:
        return rng.choice(values) if _chance(rng, probability) else None

    return Qualification(
        years=number(0.3, 0, 5, 10),
        title=rng.choice(tuple(TITLES)) if _chance(rng, 0.25) else None,
        years_in_title=number(0.15, 1, 3),
        practice_scope=_some(rng, ("外科", "内科"), 1, 2) if _chance(rng, 0.15) else (),
        cases=number(0.2, 0, 10, 50),
        independent_cases=number(0.2, 5, 10),
        within_years=number(0.4, 1, 2, 3),
        training=rng.choice((True, True, False)) if _chance(rng, 0.3) else None,
        max_idle_years=number(0.3, 1, 2),
        level=number(0.25, 2, 3, 4),
        any_of=tuple(_qualification(rng, depth - 1) for _ in range(rng.randint(1, 2))) if depth and _chance(rng, 0.45) else (),
        exempt=replace(_qualification(rng, depth - 1), training=None) if depth and _chance(rng, 0.45) else None,
    )


def _policy(rng: Random) -> Policy:
    dispositions: dict[str, Disposition | ByCheckpoint] = {}
    if _chance(rng, 0.4):
        for reason_code in _some(rng, tuple(REASONS), 1, 5):
            dispositions[reason_code] = rng.choice(tuple(Disposition))
        for reason_code in _some(rng, sorted(BY_CHECKPOINT), 0, 2):
            dispositions[reason_code] = _by_checkpoint(rng)
        if _chance(rng, 0.1):
            dispositions[rng.choice(tuple(REASONS))] = _by_checkpoint(rng)
        if _chance(rng, 0.15):  # then the lack of an entry is no denial, and something else must be asked
            dispositions[rng.choice(("code_unknown", "department_not_listed"))] = Disposition.OBLIGATION
    return Policy(
        dispositions=dispositions,
        order_right=_chance(rng, 0.2),
        major_flags=frozenset(_some(rng, STANDARD_FLAGS, 0, 4)) if _chance(rng, 0.3) else Policy().major_flags,
        emergency_reasons=("airway", "trauma") if _chance(rng, 0.3) else Policy().emergency_reasons,
    )


def _by_checkpoint(rng: Random) -> ByCheckpoint:
    choices: tuple[Disposition | None, ...] = (None, *Disposition)

    def one() -> Disposition | None:
        return rng.choice(choices)

    return ByCheckpoint(order=one(), notice=one(), anesthesia=one(), intraop=one(), emergency=one())


# ------------------------------------------------------------------------------------------------ the people

_NUMBERS = tuple(f"10{number:02}" for number in range(16))
_UNKNOWN_NUMBER = "9999"
_VOLUME_SCOPES = (ScopeType.TECHNOLOGY, ScopeType.CODE, ScopeType.CODE, ScopeType.ITEM)
_CREDENTIALS: tuple[Literal["training", "exemption"], ...] = ("training", "exemption")


def random_people(rng: Random, hospital: Hospital) -> dict[str, Person]:
    """4 to 8 people (now and then 16) of every kind, with grants that cover much, almost, or not at all."""
    count = rng.randint(4, 8) if _chance(rng, 0.95) else len(_NUMBERS)
    people = {number: _person(rng, hospital, number) for number in _NUMBERS[:count]}
    if count > MAX_OPERATORS_LISTED and _chance(rng, 0.7):  # so many who may do it that the answer can't list them all
        grants = _plenty(rng, hospital, _NUMBERS[0])
        for number, person in people.items():
            mine = tuple(replace(grant, id=f"{grant.id}-{number}", staff=number) for grant in grants)
            people[number] = replace(person, grants=person.grants + mine)
    return people


def _person(rng: Random, hospital: Hospital, number: str) -> Person:
    calm = _chance(rng, 0.8)
    kind = rng.choice((StaffKind.PHYSICIAN, StaffKind.MULTI_SITE, StaffKind.ANESTHESIOLOGIST, StaffKind.PERFUSIONIST))
    if not calm or _chance(rng, 0.15):
        kind = rng.choice(tuple(StaffKind))
    staff = Staff(
        staff=number,
        name=f"人员{number}",
        department=rng.choice((*DEPARTMENTS, "麻醉科")),
        kind=kind,
        title=rng.choice(("", "主管技师", *TITLES)) if _chance(rng, 0.4) else "主任医师",
        license_no="" if _chance(rng, 0.04 if calm else 0.3) else f"L{number}",
        license_valid_to=_perhaps_near(rng, 0.05 if calm else 0.5),
        practice_scope=_some(rng, ("外科", "内科"), 0, 2),
        practice_since=DAY - timedelta(days=rng.choice((300, 1826, 1827, 3652, 3653, 9000))) if _chance(rng, 0.9) else None,
        title_since=DAY - timedelta(days=rng.choice((300, 365, 366, 1095, 1096, 3000))) if _chance(rng, 0.9) else None,
        status=StaffStatus.ACTIVE if calm else rng.choice(tuple(StaffStatus)),
        requalification=rng.choice(tuple(Requalification)) if not calm else rng.choice((Requalification.NONE, Requalification.DONE)),
    )
    technologies = [technology.id for technology in hospital.technologies]
    grants = [random_grant(rng, hospital, number, index, calm) for index in range(rng.randint(2, 12))]
    if calm and _chance(rng, 0.5):
        grants += _plenty(rng, hospital, number)
    return Person(
        staff=staff,
        grants=tuple(grants),
        credentials=tuple(
            Credential(staff=number, technology=one, kind=rng.choice(_CREDENTIALS), issued_on=_near(rng))
            for one in _some(rng, technologies, 2 if calm else 0, 4)
        ),
        volumes=tuple(_volume(rng, hospital, number) for _ in range(rng.randint(0, 4))),
        duty=tuple(_duty(rng, number) for _ in range(rng.choice((0, 1, 1, 2)))),
    )


def random_grant(rng: Random, hospital: Hospital, number: str, index: int = 0, calm: bool = True) -> Grant:
    """A grant of that person for something that the hospital has; the calm ones are mostly in force."""
    scope_type = rng.choice((*ScopeType, ScopeType.CODE, ScopeType.CODE, ScopeType.ITEM, ScopeType.ITEM, ScopeType.TECHNOLOGY))
    entry = rng.choice(hospital.entries)
    scopes = {
        ScopeType.CODE: rng.choice((entry.code, entry.code, rng.choice((*NATIONAL, *ALIASES, *COMBINATIONS)))),
        ScopeType.ITEM: entry.item or rng.choice(ITEMS),
        ScopeType.LEVEL: str(rng.choice((1, 2, 2, 2, 3, 4))),
        ScopeType.TECHNOLOGY: rng.choice(hospital.technologies).id,
        ScopeType.ASA: str(rng.randint(1, 5)),
        ScopeType.PERFUSION: str(rng.randint(1, 5)),
    }
    fresh = _chance(rng, 0.75 if calm else 0.4)
    return Grant(
        id=f"G-{number}-{index}",
        staff=number,
        scope_type=scope_type,
        scope=scopes[scope_type],
        department=rng.choice(DEPARTMENTS) if _chance(rng, 0.4) else "",
        role=GrantRole.REQUESTER if _chance(rng, 0.12) else GrantRole.OPERATOR,
        valid_from=DAY - timedelta(days=rng.choice((90, 90, 396, 800))) if fresh else _near(rng),
        valid_to=_perhaps_near(rng, 0.05 if fresh else 0.5),
        last_evaluated=_perhaps_near(rng, 0.6),
        state=GrantState.ACTIVE if fresh else rng.choice(tuple(GrantState)),
    )


def _plenty(rng: Random, hospital: Hospital, number: str) -> list[Grant]:
    """What a senior surgeon holds: most codes of the catalog, in force, so that many orders are allowed."""
    codes = sorted({entry.code for entry in hospital.entries if _chance(rng, 0.85)})
    return [
        Grant(
            id=f"G-{number}-{code}",
            staff=number,
            scope_type=ScopeType.CODE,
            scope=code,
            valid_from=DAY - timedelta(days=rng.choice((60, 200, 340))),
            last_evaluated=_perhaps_near(rng, 0.3),
        )
        for code in codes
    ]


def _duty(rng: Random, number: str) -> Duty:
    """A turn of 12 hours that holds the instant, begins or ends with it, or misses it by a minute."""
    starts = NOW - timedelta(minutes=rng.choice((0, 1, 300, 719, 720, 721, -1)))
    return Duty(staff=number, starts=starts, ends=starts + timedelta(hours=12))


def _volume(rng: Random, hospital: Hospital, number: str) -> Volume:
    entry, scope_type = rng.choice(hospital.entries), rng.choice(_VOLUME_SCOPES)
    scopes = {
        ScopeType.TECHNOLOGY: rng.choice(hospital.technologies).id,
        ScopeType.CODE: rng.choice((entry.code, *NATIONAL, *hospital.aliases)),
        ScopeType.ITEM: entry.item or rng.choice(ITEMS),
    }
    return Volume(
        staff=number,
        scope_type=scope_type,
        scope=scopes[scope_type],
        year=DAY.year - rng.choice((-1, 0, 0, 1, 1, 2, 3)),
        operator_cases=rng.choice((0, 4, 5, 12, 60)),
        supervised_cases=rng.choice((0, 5, 40)),
        last_case_on=_perhaps_near(rng, 0.8),
    )


# ------------------------------------------------------------------------------------------------ the order


def random_order(rng: Random, hospital: Hospital, people: Mapping[str, Person]) -> Order:
    """An order of 1 to 4 procedures at any checkpoint."""
    checkpoint = rng.choice((*Checkpoint, Checkpoint.ORDER))
    urgency = rng.choice((*Urgency, Urgency.EMERGENCY))
    department = rng.choice((*DEPARTMENTS, DEPARTMENTS[0], DEPARTMENTS[0])) if _chance(rng, 0.95) else "急诊科"
    known = tuple(people)
    usual = rng.choice(known)
    operators = [usual if _chance(rng, 0.6) else _somebody(rng, known, 0.03) for _ in range(4)]
    codes = _codes(rng, hospital)
    if _chance(rng, 0.3):  # one that the department does perform
        listed = [entry.code for entry in hospital.entries if not entry.departments or department in entry.departments]
        codes = [rng.choice(listed or codes)]
    return Order(
        request_id="R1",
        checkpoint=checkpoint,
        case_id="S1",
        department=department,
        urgency=urgency,
        patient=Patient(
            id="P1",
            birth_date=date(rng.choice((1960, 2012, 2013, 2020, 2030)), 11, rng.choice((22, 23, 24))) if _chance(rng, 0.6) else None,
            flags=_some(rng, STANDARD_FLAGS, 1, 2) if _chance(rng, 0.2) else (),
        ),
        procedures=tuple(_procedure(rng, hospital, code, operator) for code, operator in zip(codes, operators, strict=False)),
        planned_start=_planned_start(rng),
        requester=_somebody(rng, known, 0.03) if _chance(rng, 0.8) else None,
        diagnoses=_some(rng, DIAGNOSES, 1, 2) if _chance(rng, 0.7) else (),
        team=_team(rng, known, checkpoint),
        anesthesia=Anesthesia(rng.choice((None, 1, 2, 3, 4, 5, 6))) if _chance(rng, 0.8) else None,
        perfusion=Perfusion(rng.choice((None, 1, 2, 3, 4, 5))) if _chance(rng, 0.3) else None,
        evidence=_evidence(rng),
        emergency=_declaration(rng, hospital, (*operators, rng.choice(known)))
        if _chance(rng, 0.6 if urgency is Urgency.EMERGENCY else 0.05)
        else None,
    )


def _somebody(rng: Random, known: Sequence[str], unknown: float) -> str:
    return _UNKNOWN_NUMBER if _chance(rng, unknown) else rng.choice(known)


def _codes(rng: Random, hospital: Hospital) -> list[str]:
    in_catalog = sorted({entry.code for entry in hospital.entries})
    wholes = [code for code in in_catalog if "+" in code]
    if wholes and _chance(rng, 0.25):
        related = {**{national: local for local, national in hospital.aliases.items()}, **hospital.aliases}
        parts = rng.choice(wholes).split("+")
        codes = [related.get(part, part) if _chance(rng, 0.3) else part for part in parts]
        codes += rng.sample(in_catalog, rng.randint(0, 1))
        rng.shuffle(codes)
        return codes
    singles = [code for code in in_catalog if "+" not in code]
    if len(singles) > 1 and _chance(rng, 0.06):  # parts that the catalog knows, mostly unknown together
        return ["+".join(sorted(rng.sample(singles, 2)))]
    pool = (*in_catalog, *in_catalog, *in_catalog, *NATIONAL, *ALIASES, *COMBINATIONS, *UNKNOWN_CODES)
    return [rng.choice(pool if _chance(rng, 0.4) else in_catalog) for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4)))]


def _procedure(rng: Random, hospital: Hospital, code: str, operator: str) -> Procedure:
    like = rng.choice(hospital.entries)
    same = [entry for entry in hospital.entries if entry.code == code]
    if same and _chance(rng, 0.8):
        like = rng.choice(same)
    return Procedure(
        code=respelled(rng, code) if _chance(rng, 0.2) else code,
        operator=operator,
        item=(like.item or rng.choice(("", *ITEMS))) if _chance(rng, 0.25) else None,
        service=(like.service or rng.choice(SERVICES)) if _chance(rng, 0.25) else None,
        name=rng.choice((like.name, rng.choice(NAMES_AS_SENT))) if _chance(rng, 0.25) else None,
    )


def respelled(rng: Random, code: str) -> str:
    """Another spelling of the same code: full width, blanks, `*` or capital X for `x`, the parts of a combination in another order."""
    parts = code.split("+")
    rng.shuffle(parts)
    text = "+".join(parts).replace("x", rng.choice(("x", "X", "*", "×")))
    if _chance(rng, 0.5):
        place = rng.randint(0, len(text))
        text = text[:place] + rng.choice((" ", "  ", "\u3000", "\t")) + text[place:]
    if _chance(rng, 0.5):
        text = "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" and _chance(rng, 0.7) else char for char in text)
    assert normalize_procedure(text) == code
    return text


def _planned_start(rng: Random) -> datetime | None:
    if _chance(rng, 0.3):
        return None
    away = rng.choice((timedelta(days=-400), timedelta(days=-30), timedelta(days=-1), timedelta(hours=-10), timedelta(hours=-2),
                       timedelta(0), timedelta(hours=2), timedelta(hours=14, minutes=45), timedelta(hours=14, minutes=46),
                       timedelta(days=1), timedelta(days=1), timedelta(days=30)))  # fmt: skip
    return (NOW + away).astimezone(rng.choice((UTC, ZONE)))


def _team(rng: Random, known: Sequence[str], checkpoint: Checkpoint) -> tuple[TeamMember, ...]:
    roles = list(_some(rng, tuple(TeamRole), 0, 2)) if _chance(rng, 0.6) else []
    if checkpoint is Checkpoint.ANESTHESIA and _chance(rng, 0.85):
        roles.append(TeamRole.ANESTHESIOLOGIST)
    if _chance(rng, 0.2):
        roles.append(TeamRole.PERFUSIONIST)
    return tuple(TeamMember(_somebody(rng, known, 0.04), role) for role in roles)


def _evidence(rng: Random) -> Evidence | None:
    if _chance(rng, 0.1):
        return None

    def paper() -> str | None:
        return "NO-1" if _chance(rng, 0.8) else rng.choice((None, "", "  ", "\u3000"))

    return Evidence(mdt=paper(), major_approval=paper(), special_approval=paper(), unplanned_reoperation=paper())


def _declaration(rng: Random, hospital: Hospital, known: Sequence[str]) -> Declaration:
    reasons = hospital.policy.emergency_reasons
    if _chance(rng, 0.75):
        return Declaration(
            lifesaving=True,
            no_privileged_operator=True,
            reason_code=rng.choice(reasons),
            reason=rng.choice(("大出血，来不及等待", "大出血，来不及等待", "急，急急急！", "动脉瘤破裂")),
            declared_by=rng.choice(known),
            reported_to=rng.choice((None, "总值班")),
            reported_at=rng.choice((None, NOW)),
            declared_at=rng.choice((None, NOW, NOW - timedelta(hours=3), NOW + timedelta(hours=3))),
        )
    return Declaration(
        lifesaving=rng.choice((None, True, True, False)),
        no_privileged_operator=rng.choice((None, True, True, False)),
        reason_code=rng.choice((None, "", "airway", "obstetric", "nonsense")),
        reason=rng.choice((None, "", " 急   ", "四个字啊", "五个字的话", "  大出血  ")),
        declared_by=rng.choice((None, "", rng.choice(known), _UNKNOWN_NUMBER)),
    )


# ------------------------------------------------------------------------------------------------ the case so far


def random_history(rng: Random, order: Order) -> CaseHistory | None:
    """Earlier decisions of the case: mostly all allowed, some denied, some of a plan that differs, a few of another patient."""
    if _chance(rng, 0.2):
        return None
    other = order.urgency is Urgency.EMERGENCY and _chance(rng, 0.15)
    reached = {Checkpoint.ORDER: 0, Checkpoint.NOTICE: 1, Checkpoint.ANESTHESIA: 2, Checkpoint.INTRAOP: 3}[order.checkpoint]
    checkpoints = list(tuple(Checkpoint)[:reached]) if _chance(rng, 0.7) else [rng.choice(tuple(Checkpoint)) for _ in range(3)]
    return CaseHistory(
        patient_id="P2" if other else "P1",
        decisions=tuple(_past_decision(rng, order, one) for one in checkpoints for _ in range(rng.choice((1, 1, 2)))),
    )


def _past_decision(rng: Random, order: Order, checkpoint: Checkpoint) -> PastDecision:
    procedures = [PastProcedure(normalize_procedure(one.code), one.operator) for one in order.procedures]
    rng.shuffle(procedures)
    if _chance(rng, 0.15):
        procedures[0] = PastProcedure(procedures[0].code, _NUMBERS[0])
    if _chance(rng, 0.1):
        procedures.append(rng.choice(procedures))
    decision = Verdict.ALLOW if _chance(rng, 0.7) else rng.choice(tuple(Verdict))
    return PastDecision(checkpoint, decision, tuple(procedures))

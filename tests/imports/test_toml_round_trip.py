"""Whatever settings and technologies a hospital has, its exported TOML reads back as the same."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.engine.model import (
    TITLES,
    ByCheckpoint,
    Disposition,
    Identify,
    OfficeHours,
    Paediatric,
    Policy,
    Qualification,
    Technology,
    TechnologyKind,
    Urgency,
)
from app.engine.reasons import BY_CHECKPOINT, REASONS, refuse_disposition
from app.imports.current import Held, Profile
from app.imports.toml_out import hospital_toml, technologies_toml
from app.packs.hospital import read_hospital
from app.packs.problems import Problems
from app.packs.technologies import build, merge, read_technologies
from app.packs.toml_tables import TomlTable, parse_toml
from app.store.hospitals import Settings

WORDS = st.text(st.sampled_from('abcXYZ019心外科"\\=#[]{}.、-_'), min_size=1, max_size=12)
CODES = st.frozensets(st.sampled_from(["35.71001", "35.7100x001", "37.26001+37.34001", "38.4500", "00.0901"]), min_size=1)
DIAGNOSES = st.lists(st.sampled_from(["C22", "Q21.100", ("C00", "C97"), "C00.300x004"]), unique=True).map(tuple)
DAYS = st.dates(date(1990, 1, 1), date(2100, 1, 1))
NUMBERS = st.none() | st.integers(1, 90)


def _identify(
    codes: frozenset[str] | None, all_of: tuple[frozenset[str], ...], diagnoses: tuple[object, ...], urgency: frozenset[Urgency]
) -> Identify:
    return Identify(codes or (frozenset({"38.4500"}) if not all_of else frozenset()), all_of, diagnoses, urgency)  # type: ignore[arg-type]


IDENTIFY = st.builds(
    _identify, st.none() | CODES, st.lists(CODES, max_size=2).map(tuple), DIAGNOSES, st.frozensets(st.sampled_from(Urgency))
)
PLAIN = st.builds(
    Qualification,
    years=st.none() | st.integers(0, 90),
    title=st.none() | st.sampled_from(list(TITLES)),
    years_in_title=NUMBERS,
    practice_scope=st.lists(WORDS, max_size=2, unique=True).map(tuple),
    cases=NUMBERS,
    independent_cases=NUMBERS,
    within_years=NUMBERS,
    training=st.none() | st.booleans(),
    max_idle_years=NUMBERS,
    level=st.none() | st.integers(1, 4),
)
QUALIFICATION = st.builds(
    lambda plain, any_of, exempt: Qualification(
        **{name: getattr(plain, name) for name in Qualification.__struct_fields__} | {"any_of": any_of, "exempt": exempt}
    ),
    PLAIN,
    st.lists(PLAIN, max_size=2).map(tuple),
    st.none() | PLAIN,
)
TECHNOLOGY = st.builds(
    Technology,
    id=st.sampled_from(["T1", "T2", "G11", "S 02"]),
    name=WORDS,
    kind=st.sampled_from([kind for kind in TechnologyKind if kind is not TechnologyKind.PROHIBITED]),
    identify=st.lists(IDENTIFY, max_size=3, unique=True).map(tuple),
    assessed_on=st.none() | DAYS,
    filed_on=st.none() | DAYS,
    filing_no=st.just("") | WORDS,
    first_case_on=st.none() | DAYS,
    team=st.lists(WORDS, max_size=3, unique=True).map(tuple),
    grantable=st.booleans(),
    stopped=st.booleans(),
    qualification=st.lists(QUALIFICATION, max_size=2).map(tuple),
    basis=st.just("") | WORDS,
)
NOTES = st.fixed_dictionaries({}, optional={"names": st.dictionaries(WORDS, WORDS, min_size=1), "source": WORDS, "note": WORDS})


def _parsed(file: str, data: bytes, problems: Problems) -> TomlTable:
    top = parse_toml(file, data, problems)
    assert top is not None
    return top


@given(st.lists(st.tuples(TECHNOLOGY, NOTES), unique_by=lambda one: one[0].id), st.lists(TECHNOLOGY, unique_by=lambda one: one.id))
def test_technologies(own: list[tuple[Technology, dict[str, object]]], shared: list[Technology]) -> None:
    problems = Problems()
    # What a shared pack gives comes from such a file too; the hospital has it merged with its own.
    given_shared = read_technologies(_parsed("s", technologies_toml([Held(t, {}) for t in shared], {}), problems))
    given_own = read_technologies(_parsed("o", technologies_toml([Held(t, notes) for t, notes in own], {}), problems))
    held = {t.id: Held(t, {}) for t in build(merge(given_shared, given_own, problems).values(), problems)}
    held = {i: replace(one, notes=given_own[i].notes if i in given_own else {}) for i, one in held.items()}
    again = read_technologies(_parsed("e", technologies_toml(held.values(), given_shared), problems))
    back = {t.id: t for t in build(merge(given_shared, again, problems).values(), problems)}
    assert not problems.found
    assert back == {i: one.value for i, one in held.items()}
    assert {i: one.notes for i, one in held.items() if one.notes} == {i: one.notes for i, one in again.items() if one.notes}


DISPOSITION = st.sampled_from(Disposition)
RULED = st.one_of(
    [st.tuples(st.just(c), st.sampled_from([d for d in Disposition if refuse_disposition(c, d) is None])) for c in sorted(REASONS)]
    + [st.tuples(st.just(c), st.builds(ByCheckpoint, notice=DISPOSITION, emergency=st.none() | DISPOSITION)) for c in sorted(BY_CHECKPOINT)]
)
FLAGS = st.frozensets(st.sampled_from(["high_risk", "foreign", "vip", "own_flag"]))
POLICY = st.builds(
    lambda ruled, order_right, major, added, reasons, due: Policy(
        dict(ruled), order_right, major, Policy().flags | major | added, reasons, due
    ),
    st.lists(RULED, max_size=4),
    st.booleans(),
    FLAGS,
    FLAGS,
    st.lists(WORDS, min_size=1, max_size=3, unique=True).map(tuple),
    st.integers(1, 30),
)
OFFICE = st.builds(
    OfficeHours, st.frozensets(st.integers(1, 7), min_size=1), st.integers(0, 700), st.integers(701, 1439), st.frozensets(DAYS, max_size=3)
)


@given(
    WORDS,
    st.dictionaries(WORDS.map("科".__add__), WORDS.map("部".__add__), max_size=3),
    POLICY,
    st.none() | st.builds(Paediatric, st.integers(1, 25), st.frozensets(WORDS.map("部".__add__), min_size=1, max_size=2)),
    OFFICE,
    NUMBERS,
)
def test_settings(
    name: str, departments: dict[str, str], policy: Policy, paediatric: Paediatric | None, hours: OfficeHours, years: int | None
) -> None:
    notify = ({"kind": "webhook", "url": "https://oa.example/hook", "when": "duty"},)
    kept = Settings(departments, policy, paediatric, hours, ("national",), notify, years)
    problems = Problems()
    exported = hospital_toml("demo", Profile(name, "Asia/Shanghai", "湖北", kept), kept.builds_on)
    back = read_hospital(_parsed("h", exported, problems))
    assert not problems.found
    assert back is not None
    hospital = back.hospital
    assert (hospital.code, hospital.name, hospital.time_zone, back.province) == ("demo", name, ZoneInfo("Asia/Shanghai"), "湖北")
    assert hospital.policy == policy
    assert (hospital.department_aliases, hospital.paediatric, hospital.office_hours) == (departments, paediatric, hours)
    assert (back.builds_on, back.notify, back.retention_years) == (("national",), notify, years)

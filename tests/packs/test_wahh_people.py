"""The demo hospital's made-up people: the generator and the files agree, and what people may do follows the printed thresholds."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from app.engine.calendar import full_years
from app.engine.model import TITLES, Grant, GrantRole, Person, ScopeType, StaffKind, StaffStatus
from app.packs.load import Pack, load_pack
from tools.make_wahh_people import tables

WAHH = Path(__file__).resolve().parents[2] / "packs" / "wahh"
MADE_FILES = ("staff.csv", "grants.csv", "credentials.csv", "volumes.csv")

SUBJECTS = {"简单先心": "简单先心类"}
"""Classes of the catalog that thresholds.csv calls otherwise."""


def rows(name: str) -> list[dict[str, str]]:
    with (WAHH / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def pack() -> Pack:
    return load_pack(WAHH)


@pytest.fixture(scope="module")
def people(pack: Pack) -> dict[str, Person]:
    return {person.staff.staff: person for person in pack.people}


def grants(pack: Pack) -> Iterator[Grant]:
    return (grant for person in pack.people for grant in person.grants)


def test_the_generator_makes_the_committed_files_byte_for_byte() -> None:
    made = tables()
    assert set(made) == set(MADE_FILES)
    for name, content in made.items():
        assert (WAHH / name).read_bytes() == content.encode(), f"{name} differs: run tools/make_wahh_people.py"


@pytest.mark.parametrize("name", MADE_FILES)
def test_every_row_says_that_it_is_made_up(name: str) -> None:
    assert {row["made"] for row in rows(name)} == {"all"}


def test_there_are_people_of_every_kind(pack: Pack) -> None:
    assert not pack.warnings
    assert len(pack.people) >= 150
    assert {person.staff.kind for person in pack.people} == set(StaffKind)
    assert {person.staff.status for person in pack.people} == set(StaffStatus)
    assert {person.staff.title for person in pack.people} >= set(TITLES)


def test_namesakes_work_in_different_departments(pack: Pack) -> None:
    departments = defaultdict(list)
    for person in pack.people:
        departments[person.staff.name].append(person.staff.department)
    namesakes = [found for found in departments.values() if len(found) > 1]
    assert namesakes
    assert all(len(set(found)) == len(found) for found in namesakes)


def test_there_are_enough_grants_and_none_of_level_3_or_4_as_a_level(pack: Pack) -> None:
    counted = Counter(grant.scope_type for grant in grants(pack))
    assert counted.total() >= 8_000
    assert set(counted) == {ScopeType.CODE, ScopeType.ITEM, ScopeType.LEVEL, ScopeType.ASA, ScopeType.PERFUSION}
    assert {grant.scope for grant in grants(pack) if grant.scope_type is ScopeType.LEVEL} == {"1", "2"}


def test_surgeons_have_the_years_that_their_classes_ask_for(pack: Pack) -> None:
    asked = {row["subject"]: int(row["value"]) for row in rows("thresholds.csv") if row["measure"] == "years_in_specialty"}
    general = asked["简单先心类"]  # 复杂先心 asks for what 简单先心类 asks for
    classes = defaultdict(set)
    for entry in pack.hospital.entries:
        if {"胸心外科", "小儿外科"} & set(entry.departments) and not entry.category.startswith("外科介入"):
            classes[entry.code].add(SUBJECTS.get(entry.category, entry.category))
    looked_at = 0
    for person in pack.people:
        if person.staff.department not in ("胸心外科", "小儿外科"):
            continue
        for grant in person.grants:
            if grant.scope_type is not ScopeType.CODE or grant.role is GrantRole.REQUESTER or grant.scope not in classes:
                continue
            assert person.staff.practice_since is not None
            years = max(asked.get(subject, general) for subject in classes[grant.scope])
            assert full_years(person.staff.practice_since, grant.valid_from) >= years, grant
            looked_at += 1
    assert looked_at >= 5_000


def test_counts_are_of_the_years_that_are_kept(pack: Pack) -> None:
    for person in pack.people:
        for volume in person.volumes:
            assert volume.year in (2024, 2025, 2026)
            assert volume.operator_cases + volume.supervised_cases > 0
            assert volume.last_case_on is not None
            assert volume.last_case_on.year == volume.year


def test_who_holds_a_restricted_technology_is_trained_but_for_one_who_shows_the_lack(people: dict[str, Person]) -> None:
    codes = {"37.6600x001": "G09", "17.4300": "G10", "39.6500": "G11", "39.6500x001": "G11", "39.6500x002": "G11"}
    untrained = {
        number
        for number, person in people.items()
        for grant in person.grants
        if grant.scope in codes and not any(c.technology == codes[grant.scope] for c in person.credentials)
    }
    assert untrained == {"100309"}


def test_the_people_whom_the_documentation_names_are_as_it_says(people: dict[str, Person]) -> None:
    def held(number: str, code: str) -> list[Grant]:
        return [grant for grant in people[number].grants if grant.scope == code]

    (expired,) = held("100234", "35.71001")
    assert (expired.department, expired.valid_from, expired.valid_to) == ("胸心外科", date(2025, 10, 1), date(2026, 9, 30))
    (valid,) = held("100234", "35.72001")
    assert valid.department == "胸心外科"
    assert valid.valid_to is None or valid.valid_to > date(2027, 1, 1)
    assert all(grant.scope_type is not ScopeType.ITEM for grant in people["100234"].grants)
    assert held("100007", "35.71001")
    assert {number: grant.scope for number in ("200001", "200018", "200030") for grant in people[number].grants} == {
        "200001": "5",
        "200018": "4",
        "200030": "2",
    }
    assert {number: grant.scope for number in ("210001", "210010") for grant in people[number].grants} == {"210001": "5", "210010": "2"}

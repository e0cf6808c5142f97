"""What counts as loosening: a find and a near miss for each kind."""

from __future__ import annotations

from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from app.engine.hospital import CompiledHospital
from app.engine.model import (
    ByCheckpoint,
    Disposition,
    Entry,
    Hospital,
    Identify,
    Paediatric,
    Policy,
    Qualification,
    Technology,
    TechnologyKind,
    Urgency,
)
from app.engine.reach import held_back
from app.imports.loosening import Reach, of_hospital
from tests.properties import hospitals

ENTRY = Entry("35.71001", "房间隔缺损修补术", 3, ("胸心外科", "小儿外科"), flags=frozenset({"bypass"}))
CHILD = Entry("35.71001", "房间隔缺损修补术", 4, ("小儿外科",), flags=frozenset({"stopped"}))
CANCER = Identify(codes=frozenset({"00.0901", "50.2400x001"}), with_diagnoses=(("C00", "C97"),))
JAW = Identify(all_of=(frozenset({"23.6x00x003"}), frozenset({"76.4300", "76.4301"})))
ULTRASOUND = Technology(
    "S02", "聚焦超声", TechnologyKind.RESTRICTED_PROVINCIAL, (CANCER, JAW), qualification=(Qualification(years=5),), stopped=True
)
RESCUE = Technology("M01", "急诊", TechnologyKind.MAJOR, (Identify(codes=frozenset({"38.4500"}), urgency=frozenset({Urgency.EMERGENCY})),))
HOSPITAL = Hospital(
    code="demo",
    name="示例医院",
    time_zone=ZoneInfo("Asia/Shanghai"),
    entries=(ENTRY, CHILD),
    aliases={"38.45010": "38.4500", "35.71001": "35.7100x001"},
    technologies=(ULTRASOUND, RESCUE),
    policy=Policy(dispositions={"mdt_missing": ByCheckpoint(notice=Disposition.FINAL)}, order_right=True),
    paediatric=Paediatric(14, frozenset({"小儿外科"})),
)


def _found(**changed: Any) -> list[str]:
    return sorted({one.what for one in of_hospital(HOSPITAL, replace(HOSPITAL, **changed))})


def _technology(**changed: Any) -> list[str]:
    return _found(technologies=(replace(ULTRASOUND, **changed), RESCUE))


def _way(**changed: Any) -> list[str]:
    return _technology(identify=(replace(CANCER, **changed), JAW))


def test_nothing_changed_loosens_nothing() -> None:
    assert _found() == []


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"entries": (replace(ENTRY, level=2), CHILD)}, ["level_lowered"]),
        ({"entries": (replace(ENTRY, flags=frozenset()), CHILD)}, ["flag_gone"]),
        ({"entries": (ENTRY, replace(CHILD, flags=frozenset()))}, ["stop_gone"]),
        ({"entries": (ENTRY,)}, ["level_lowered", "stop_gone"]),
        ({"aliases": {"35.71001": "35.7100x001"}}, ["alias_gone"]),
        ({"technologies": (RESCUE,)}, ["technology_gone"]),
        ({"policy": Policy(order_right=True)}, ["policy"]),
        ({"policy": replace(HOSPITAL.policy, order_right=False)}, ["policy"]),
        ({"policy": replace(HOSPITAL.policy, major_flags=frozenset())}, ["policy"]),
        ({"paediatric": None}, ["policy"]),
        ({"paediatric": Paediatric(12, frozenset({"小儿外科"}))}, ["policy"]),
    ],
)
def test_what_is_milder_is_found(changed: dict[str, Any], what: list[str]) -> None:
    assert _found(**changed) == what


@pytest.mark.parametrize(
    "changed",
    [
        {"entries": (replace(ENTRY, level=4), CHILD)},
        {"entries": (ENTRY, CHILD, replace(ENTRY, code="88.45001", level=1))},
        {"entries": ()},  # an unknown code is denied
        {"aliases": {"38.45010": "38.4500"}},  # no rule is written in that code
        {"policy": replace(HOSPITAL.policy, major_flags=HOSPITAL.policy.flags)},
        {"paediatric": Paediatric(16, frozenset({"小儿外科", "心内科"}))},
    ],
)
def test_what_is_stricter_or_the_same_is_not(changed: dict[str, Any]) -> None:
    assert _found(**changed) == []


def test_a_technology_that_asks_for_less() -> None:
    assert _technology(stopped=False) == ["stop_gone"]
    assert _technology(kind=TechnologyKind.KEY) == ["kind_lowered"]
    assert _technology(grantable=True) == ["grantable"]
    assert _technology(qualification=()) == ["qualification_changed"]
    assert _technology(identify=(CANCER,)) == ["identified_less"]
    assert _way(codes=frozenset({"00.0901"})) == ["identified_less"]
    assert _way(with_diagnoses=("C22",)) == ["identified_less"]
    assert _way(urgency=frozenset({Urgency.EMERGENCY})) == ["identified_less"]
    assert _way(all_of=(frozenset({"00.0901"}),)) == ["identified_less"]


def test_a_technology_that_asks_for_as_much_or_more() -> None:
    assert _technology(kind=TechnologyKind.PROHIBITED) == []
    assert _technology(qualification=(Qualification(years=5), Qualification(cases=10))) == []
    assert _way(codes=CANCER.codes | {"99.8500x004"}, with_diagnoses=()) == []
    assert _found(technologies=(ULTRASOUND, replace(RESCUE, identify=(Identify(codes=frozenset({"38.4500"})),)))) == []


@pytest.mark.parametrize("seed", range(150))
def test_the_quick_look_at_what_is_granted_again_finds_what_the_exact_one_finds(seed: int) -> None:
    rng = Random(seed)
    hospital = hospitals.random_hospital(rng)
    compiled = CompiledHospital(hospital)
    reach = Reach(compiled)
    for number in hospitals.random_people(rng, hospital):
        grants = [hospitals.random_grant(rng, hospital, number, index, calm=False) for index in range(12)]
        for grant in grants:
            others = [other for other in grants if other.id != grant.id]
            assert reach.held_back(grant, others, hospitals.DAY) == held_back(grant, others, compiled, hospitals.DAY)

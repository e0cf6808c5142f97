"""Who is told when."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.cache.live_hospital import LiveHospital
from app.engine.model import OfficeHours
from app.notify.notices import notices
from app.notify.targets import Target, hours_without
from app.overrides.told import Person, Procedure, Told, code_name, name_of
from app.packs.load import load_pack
from app.store.hospitals import Itself, Loaded, Settings

PACK = Path(__file__).parents[2] / "packs" / "wahh"
OFFICE, DUTY, ALWAYS = ({"kind": "webhook", "url": f"https://oa.example/{when}", "when": when} for when in ("office", "duty", "always"))
TOLD = Told(
    override_id="o",
    decision_id="d",
    case_id="c",
    at="2026-11-23T01:00:00+00:00",
    department="胸心外科",
    operators=(Person("100234"),),
    codes=(Procedure("35.71001"),),
    declared_by=Person("100234"),
    reason_code="airway",
    reason="气道梗阻",
    state="pending_report",
    late=False,
    review_due_at="2026-11-25T09:30:00+00:00",
    flags=(),
    event="open",
)


@pytest.fixture(scope="module")
def live() -> LiveHospital:
    pack = load_pack(PACK)
    hours = OfficeHours(frozenset({1, 2, 3, 4, 5}), 8 * 60, 17 * 60 + 30, frozenset({date(2026, 11, 24)}))
    hospital = replace(pack.hospital, office_hours=hours)
    settings = Settings(notify=(OFFICE, DUTY, ALWAYS))
    return LiveHospital.of(Loaded(Itself(hospital, settings), {p.staff.staff: p for p in pack.people}, 1), datetime.now(UTC))


@pytest.mark.parametrize(
    ("local", "told"),
    [
        ("2026-11-23T08:00", OFFICE),  # a Monday
        ("2026-11-23T17:29", OFFICE),
        ("2026-11-23T07:59", DUTY),
        ("2026-11-23T17:30", DUTY),
        ("2026-11-24T10:00", DUTY),  # a holiday
        ("2026-11-22T10:00", DUTY),  # a Sunday
        ("2026-11-23T23:30", DUTY),
    ],
)
def test_the_office_in_its_hours_the_duty_office_outside_them(live: LiveHospital, local: str, told: dict[str, str]) -> None:
    made = notices(live, TOLD, datetime.fromisoformat(local + "+08:00"))
    assert [one.target for one in made] == [Target(**told).id, Target(**ALWAYS).id]
    assert {one.event for one in made} == {"open"}


def test_a_message_carries_the_hospitals_time_and_both_languages(live: LiveHospital) -> None:
    message = json.loads(notices(live, TOLD, datetime(2026, 11, 23, 1, tzinfo=UTC))[0].message)
    assert (message["at"], message["review_due_at"]) == ("2026-11-23T09:00:00+08:00", "2026-11-25T17:30:00+08:00")
    assert (message["hospital"], message["version"]) == ("wahh", 1)
    assert message["title"] == {"zh": "越级急诊手术", "en": "Emergency override"}
    assert message["todo"]["zh"].startswith("请立即")


def test_names_are_those_that_register_and_catalog_have(live: LiveHospital) -> None:
    assert name_of(live, "100234") == live.people["100234"].staff.name
    assert name_of(live, "nobody") is None
    assert code_name(live, "胸心外科", "35.71001")
    assert code_name(live, "胸心外科", "99.9999") is None


def test_hours_in_which_nobody_would_be_told_are_known() -> None:
    assert hours_without(Settings()) == ("office", "duty")
    assert hours_without(Settings(notify=(OFFICE,))) == ("duty",)
    assert hours_without(Settings(notify=(DUTY, OFFICE))) == ()
    assert hours_without(Settings(notify=({"kind": "webhook", "url": "https://x"},))) == ()

"""The benchmark on a tiny world: everybody agrees, every row is there. Nothing here looks at a time."""

from __future__ import annotations

import pytest

from app.engine.hospital import CompiledHospital
from loadtests import worlds
from loadtests.bench import Disagreement, Measured, Plan, make_world, measure, must_agree, report
from loadtests.peers import Casbin, Cedar, Contestant, SurgateDecision, SurgateGrants

TINY = Plan(grants=(200, 600), checked=120, asked=40, rounds=2)


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure(TINY)


def test_all_contestants_agree() -> None:
    source = worlds.hospital()
    world = make_world(source, CompiledHospital(source), grants=400, asked=300)
    contestants: list[Contestant] = [
        SurgateGrants(world.hospital, world.matrix),
        SurgateDecision(world.hospital, world.matrix),
        Casbin(world.held),
        Cedar(world.held),
    ]
    must_agree(contestants, world.questions)
    assert sum(question.allowed for question in world.questions) == 150


def test_a_contestant_that_answers_otherwise_stops_the_comparison() -> None:
    source = worlds.hospital()
    world = make_world(source, CompiledHospital(source), grants=200, asked=20)
    for contestant in (Casbin({}), Cedar({})):
        with pytest.raises(Disagreement, match=contestant.name):
            must_agree([contestant], world.questions)


def test_a_world_is_the_same_every_time_and_holds_the_grants_asked_for() -> None:
    source = worlds.hospital()
    everybody = list(worlds.people(source, 500))
    assert everybody == list(worlds.people(source, 500))
    assert sum(len(person.grants) for person in everybody if person.staff.staff.startswith("1")) == 500
    held = worlds.codes_in_force(source, everybody)
    assert worlds.questions(source, held, 50) == worlds.questions(source, held, 50)


def test_every_contestant_and_every_size_is_measured(measured: Measured) -> None:
    assert set(measured.paces) == {SurgateGrants.name, SurgateDecision.name, "Casbin", "Cedar"}
    assert set(measured.latencies) == {(grants, allowed) for grants in TINY.grants for allowed in (True, False)}
    assert measured.built.matrix_bytes > 0


def test_the_tables_have_their_rows(measured: Measured) -> None:
    text = report(measured, ["a machine"])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    begins = (
        "| the peers' question, 600 grants: answers/s against the best peer",
        "| a typical order, 600 grants: median µs",
        "| the same, against 200 grants",
        *(f"| {name} | " for name in measured.paces),
        *(f"| {grants} | {word} | " for grants in TINY.grants for word in ("allowed", "denied")),
        "| memory of the compiled matrix, 600 grants",
        "| compiling the matrix",
        "| compiling the hospital",
    )
    for begin in begins:
        assert any(row.startswith(begin) for row in rows), begin
    targets = [row for row in rows if row.endswith(("| met |", "| not met |"))]
    assert len(targets) == 3
    assert "- a machine" in text

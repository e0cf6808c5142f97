"""The benchmark of the engine on a tiny world: everybody agrees, every row is there. Nothing here looks at a time."""

from __future__ import annotations

import pytest

from app.engine.hospital import CompiledHospital
from loadtests import worlds
from loadtests.bench.engine import Disagreement, Measured, Plan, make_world, measure, must_agree
from loadtests.bench.engine_tables import engine_sections, engine_targets
from loadtests.bench.figures import percentile, spread
from loadtests.bench.targets import Target, targets_table
from loadtests.peers import Casbin, Cedar, Contestant, Rego, SurgateDecision, SurgateGrants

TINY = Plan(grants=(200, 600), checked=120, asked=120, rounds=2)


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
        Rego(world.held),
    ]
    must_agree(contestants, world.questions)
    assert sum(question.allowed for question in world.questions) == 150


class _Never(Rego):
    """Answers no to everything, and is asked everything."""

    every = 1

    def __init__(self) -> None:
        super().__init__({})


def test_a_contestant_that_answers_otherwise_stops_the_comparison() -> None:
    source = worlds.hospital()
    world = make_world(source, CompiledHospital(source), grants=200, asked=20)
    for contestant in (Casbin({}), Cedar({}), _Never()):
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
    assert set(measured.paces) == {SurgateGrants.name, SurgateDecision.name, "Casbin", "Cedar", "Rego"}
    assert set(measured.latencies) == {(grants, allowed) for grants in TINY.grants for allowed in (True, False)}
    assert measured.built.matrix_bytes > 0


def test_the_tables_have_their_rows(measured: Measured) -> None:
    text = "\n".join([targets_table(engine_targets(measured)), *engine_sections(measured)])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    begins = (
        "| the engine alone on the peers' question, 600 grants: answers/s against the best peer",
        "| the engine alone on a typical order, 600 grants: median",
        *(f"| {name} | " for name in measured.paces),
        *(f"| {grants} | {word} | " for grants in TINY.grants for word in ("allowed", "denied")),
        "| memory of the compiled matrix, 600 grants",
        "| compiling the matrix",
        "| compiling the hospital",
    )
    for begin in begins:
        assert any(row.startswith(begin) for row in rows), begin
    assert len([row for row in rows if row.endswith(("| met |", "| not met |"))]) == 2


@pytest.mark.parametrize(
    ("measured_", "at_least", "ends"),
    [(2.0, True, "| 2.00 × | ≥ 2 × | met |"), (1.9, True, "| 1.90 × | ≥ 2 × | not met |"), (2.1, False, "| 2.10 × | ≤ 2 × | not met |")],
)
def test_a_target_says_whether_it_is_met(measured_: float, at_least: bool, ends: str) -> None:
    assert targets_table([Target("what", measured_, 2, at_least, "×")]).endswith(ends)


def test_a_target_that_is_measured_elsewhere_says_where() -> None:
    assert targets_table([Target("what", None, 1.3, False, "×", "elsewhere")]).endswith("| what |  | ≤ 1.3 × | elsewhere |")


def test_a_percentile_is_a_value_that_was_seen() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.0, 0.5, 0.99, 0.999, 1.0)] == [1, 50, 99, 100, 100]
    assert percentile([3.0], 0.5) == 3
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
    assert spread([3.0, 1.0, 2.0]) == (2, 1, 3)

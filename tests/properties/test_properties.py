"""Laws that hold whatever the hospital, the people and the order are.

Each is held over random cases (`hospitals.random_world`); `SURGATE_TEST_SEEDS` says how many, a failure names its seed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app.engine.codes import parts_of
from app.engine.decide import OtherPatient, decide
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import (
    CaseHistory,
    Decision,
    Declaration,
    Disposition,
    Finding,
    Hospital,
    MatrixState,
    Order,
    Person,
    Procedure,
    ProcedureResult,
    StaffStatus,
    TeamMember,
    TeamResult,
    TeamRole,
    Urgency,
    Verdict,
)
from app.engine.reasons import PRECEDENCE
from app.engine.reference import OtherPatient as OtherPatientInReference
from app.engine.reference import judge
from tests.properties.hospitals import World, random_grant, random_world, respelled

SEEDS = int(os.environ.get("SURGATE_TEST_SEEDS", "3000")) // 3
ABOUT_DOING_IT = {
    "prohibited_technology",
    "technology_stopped",
    "restricted_not_assessed",
    "restricted_filing_due",
    "special_approval_missing",
    "mdt_missing",
    "major_approval_missing",
}
"""Reason codes of what is wrong with a procedure whoever operates and whatever entry is meant."""

DENYING = (Disposition.OVERRIDABLE, Disposition.FINAL)


def worlds() -> Iterator[tuple[int, World, Random]]:
    """The cases, each with a generator for what is changed in it."""
    for seed in range(SEEDS):
        yield seed, random_world(seed), Random(f"change {seed}")


def decided(world: World) -> Decision:
    matrix = Matrix(world.people.values(), MatrixState(1, world.now)) if world.people is not None else None
    return decide(world.order, CompiledHospital(world.hospital), matrix, world.history, world.now)


def with_order(world: World, order: Order) -> World:
    return World(world.hospital, world.people, order, world.history, world.now)


def with_hospital(world: World, hospital: Hospital) -> World:
    return World(hospital, world.people, world.order, world.history, world.now)


def with_people(world: World, people: dict[str, Person]) -> World:
    return World(world.hospital, people, world.order, world.history, world.now)


def findings(decision: Decision) -> list[Finding]:
    return [*decision.findings, *(one for part in _parts(decision) for one in part.findings)]


def found(all_of: tuple[Finding, ...]) -> set[tuple[str, Disposition]]:
    return {(one.code, one.disposition) for one in all_of}


def substance(result: ProcedureResult) -> dict[str, Any]:
    """All of a procedure's result but for how its code was written and in which order its lists are.

    Of several entries that remain, which one gives the result its name is the catalog's order.
    """
    return {
        "code": result.code,
        "level": result.level,
        "entry": result.entry if not result.candidates else None,
        "operator": result.operator,
        "decision": result.decision,
        "technologies": set(result.technologies),
        "candidates": sorted(map(str, result.candidates)),
        "findings": found(result.findings),
        "operators": [one.staff for one in result.operators],
    }


# ------------------------------------------------------------------------------------------------ grants


def test_a_further_grant_never_denies_what_was_allowed() -> None:
    """A grant takes nothing away, not even a revoked one: what is allowed stays so, the case and each part of it.

    It may change the finding of what is denied (from missing to another department's, say), and a policy may have made that one final;
    so an override is no part of this law.
    """
    allowed = 0
    for seed, world, rng in worlds():
        if world.people is None:
            continue
        operators = [one.operator for one in world.order.procedures if one.operator in world.people]
        holder = rng.choice([*world.people, *operators])
        further = tuple(random_grant(rng, world.hospital, holder, 100 + index, calm=_coin(rng)) for index in range(5))
        person = world.people[holder]
        richer = {**world.people, holder: replace(person, grants=further[:2] + person.grants + further[2:])}
        before, after = decided(world), decided(with_people(world, richer))
        for was, now in zip(_parts(before), _parts(after), strict=True):
            assert was.decision is not Verdict.ALLOW or now.decision is Verdict.ALLOW, f"seed {seed}"
        if before.decision is Verdict.ALLOW:
            allowed += 1
            assert after.decision is Verdict.ALLOW, f"seed {seed}"
    assert allowed


def _coin(rng: Random) -> bool:
    return rng.random() < 0.5


def _parts(decision: Decision) -> list[ProcedureResult | TeamResult]:
    return [*decision.procedures, *decision.team]


# ------------------------------------------------------------------------------------------------ how the order is written


def test_the_order_of_procedures_does_not_matter() -> None:
    for seed, world, rng in worlds():
        places = list(range(len(world.order.procedures)))
        rng.shuffle(places)
        moved = with_order(world, replace(world.order, procedures=tuple(world.order.procedures[place] for place in places)))
        before, after = decided(world), decided(moved)
        assert (after.decision, after.level, after.overridable) == (before.decision, before.level, before.overridable), f"seed {seed}"
        assert found(after.findings) == found(before.findings), f"seed {seed}"
        for place, result in zip(places, after.procedures, strict=True):
            assert substance(result) == substance(before.procedures[place]), f"seed {seed}, procedure {place}"


def test_equal_spellings_of_a_code_give_equal_answers() -> None:
    """Full width, blanks, capital X, `*` for `x`, a combination's parts in another order."""

    def answer(world: World) -> Any:
        answered: dict[str, Any] = msgspec.to_builtins(decided(world))
        for procedure in answered["procedures"]:
            del procedure["as_sent"]
        return answered

    for seed, world, rng in worlds():
        canonical = [one.code for one in decided(world).procedures]
        rewritten = tuple(replace(one, code=respelled(rng, code)) for one, code in zip(world.order.procedures, canonical, strict=True))
        assert answer(with_order(world, replace(world.order, procedures=rewritten))) == answer(world), f"seed {seed}"


def test_a_denial_says_the_first_of_what_denies() -> None:
    """The message is that of a denying finding of the highest precedence, whatever obligations precede it."""
    for seed, world, _ in worlds():
        decision = decided(world)
        denying = [one for one in findings(decision) if one.disposition in DENYING]
        if decision.decision is Verdict.DENY:
            first = min(PRECEDENCE[one.code] for one in denying)
            shown = {one.message.zh for one in denying if PRECEDENCE[one.code] == first}
            assert any(text in decision.message.zh for text in shown), f"seed {seed}"
        assert bool(denying) is (decision.decision is not Verdict.ALLOW), f"seed {seed}"


# ------------------------------------------------------------------------------------------------ what never weakens


def test_an_emergency_never_lifts_a_final_finding() -> None:
    """With a valid declaration: denied where something final was found, allowed where nothing denies, an override otherwise."""
    seen = set()
    for seed, world, _ in worlds():
        after = decided(with_order(world, _declared(world)))
        dispositions = {one.disposition for one in findings(after)}
        expected = Verdict.ALLOW
        if Disposition.FINAL in dispositions:
            expected = Verdict.DENY
        elif Disposition.OVERRIDABLE in dispositions:
            expected = Verdict.OVERRIDE
        assert after.decision is expected, f"seed {seed}"
        seen.add(expected)
    assert seen == set(Verdict)


def test_overridable_says_what_a_valid_declaration_would_do() -> None:
    for seed, world, _ in worlds():
        if world.order.urgency is Urgency.EMERGENCY:
            before, after = decided(with_order(world, replace(world.order, emergency=None))), decided(with_order(world, _declared(world)))
            expected = Verdict.OVERRIDE if before.overridable else before.decision
            assert after.decision is expected, f"seed {seed}"
            assert {(one.code, one.disposition) for one in findings(after)} == {(one.code, one.disposition) for one in findings(before)}, (
                f"seed {seed}"
            )


def _declared(world: World) -> Order:
    declaration = Declaration(
        lifesaving=True,
        no_privileged_operator=True,
        reason_code=world.hospital.policy.emergency_reasons[0],
        reason="主动脉夹层破裂",
        declared_by=_somebody_on_staff(world),
    )
    # A nurse of the team, so that the declarer is on the case and nothing else is asked of them.
    team = (*world.order.team, TeamMember(_somebody_on_staff(world), TeamRole.CIRCULATING_NURSE))
    return replace(world.order, urgency=Urgency.EMERGENCY, team=team, emergency=declaration)


def _somebody_on_staff(world: World) -> str:
    if world.people is None:
        return "1000"
    return next(number for number, person in world.people.items() if person.staff.status is not StaffStatus.LEFT)


def test_leaving_out_diagnoses_never_allows_what_was_denied() -> None:
    """An order without any diagnosis is never judged more mildly than the same order with some, whatever kind of technology they tell.

    Two limits. A hospital whose policy makes `diagnosis_missing` less than a denial has chosen otherwise. And leaving out one diagnosis of
    several is not seen: what is left may be all there was.
    """
    denied = 0
    for seed, world, _ in worlds():
        rules = {code: ruled for code, ruled in world.hospital.policy.dispositions.items() if code != "diagnosis_missing"}
        strict = with_hospital(world, replace(world.hospital, policy=replace(world.hospital.policy, dispositions=rules)))
        before, after = decided(strict), decided(with_order(strict, replace(world.order, diagnoses=())))
        parts = zip(before.procedures, after.procedures, strict=True)
        assert all(now.decision is not Verdict.ALLOW for was, now in parts if was.decision is not Verdict.ALLOW), f"seed {seed}"
        if before.decision is not Verdict.ALLOW:
            denied += bool(world.order.diagnoses)
            assert after.decision is not Verdict.ALLOW, f"seed {seed}"
        assert (after.level or 0) >= (before.level or 0), f"seed {seed}"
    assert denied


def test_what_bars_a_procedure_alone_bars_it_beside_others() -> None:
    """Beside others a procedure may be judged as a combination, by other entries; what is wrong with doing it at all stays (reading 7).

    That a diagnosis is missing is no part of this: the other procedures may be what makes the technology certain.
    """
    for seed, world, rng in worlds():
        parts = sorted({part for entry in world.hospital.entries for part in (parts_of(entry.code) or (entry.code,))})
        further = Procedure(code=rng.choice(parts), operator=world.order.procedures[0].operator)
        together = decided(with_order(world, replace(world.order, procedures=(*world.order.procedures, further))))
        for procedure, now in zip(world.order.procedures, together.procedures, strict=False):
            was = decided(with_order(world, replace(world.order, procedures=(procedure,)))).procedures[0]
            lifted = {one.code for one in was.findings} & ABOUT_DOING_IT - {one.code for one in now.findings}
            assert not lifted, f"seed {seed}: {was.code}"
            assert (now.level or 0) >= (was.level or 0), f"seed {seed}: {was.code}"


# ------------------------------------------------------------------------------------------------ how the data is written


def _shuffled(rng: Random, hospital: Hospital) -> Hospital:
    return replace(
        hospital,
        entries=tuple(rng.sample(hospital.entries, len(hospital.entries))),
        technologies=tuple(rng.sample(hospital.technologies, len(hospital.technologies))),
        aliases=dict(rng.sample(list(hospital.aliases.items()), len(hospital.aliases))),
    )


def _doubled(rng: Random, hospital: Hospital) -> Hospital:
    """A few entries printed twice, in another place or class of the catalog, and a technology twice."""
    again = (replace(entry, source="附录", category="其他") for entry in rng.sample(hospital.entries, 2))
    return replace(
        hospital,
        entries=hospital.entries + tuple(again),
        technologies=hospital.technologies + tuple(rng.sample(hospital.technologies, 1)),
    )


@pytest.mark.parametrize("change", [_shuffled, _doubled], ids=["order", "duplicates"])
def test_the_decision_does_not_depend_on_how_the_data_is_listed(change: Callable[[Random, Hospital], Hospital]) -> None:
    for seed, world, rng in worlds():
        before = decided(world)
        people = {number: _relisted(rng, person) for number, person in (world.people or {}).items()}
        changed = with_people(world, people) if world.people is not None else world
        after = decided(with_hospital(changed, change(rng, world.hospital)))
        assert (after.decision, after.level, after.overridable) == (before.decision, before.level, before.overridable), f"seed {seed}"
        for was, now in zip(before.procedures, after.procedures, strict=True):
            assert substance(now) == substance(was), f"seed {seed}"


def _relisted(rng: Random, person: Person) -> Person:
    """The person's rows in another order, a few grants and credentials twice (a volume twice would be more volume)."""
    grants = rng.sample(person.grants, len(person.grants))
    credentials = rng.sample(person.credentials, len(person.credentials))
    return replace(
        person,
        grants=tuple(grants + grants[:2]),
        credentials=tuple(credentials + credentials[:1]),
        volumes=tuple(rng.sample(person.volumes, len(person.volumes))),
        duty=tuple(rng.sample(person.duty, len(person.duty))),
    )


# ------------------------------------------------------------------------------------------------ whose case it is


def test_another_patients_case_is_refused_but_in_an_emergency() -> None:
    for seed, world, _ in worlds():
        other = World(world.hospital, world.people, world.order, CaseHistory("somebody else"), world.now)
        if world.order.urgency is Urgency.EMERGENCY:
            fresh = World(world.hospital, world.people, replace(world.order, emergency=None), None, world.now)
            again = World(world.hospital, world.people, replace(world.order, emergency=None), other.history, world.now)
            assert decided(again) == replace(decided(fresh), flags=("other_patient",)), f"seed {seed}"
        else:
            with pytest.raises(OtherPatient):
                decided(other)
            with pytest.raises(OtherPatientInReference):
                judge(other.order, other.hospital, other.people, other.history, other.now)


# ------------------------------------------------------------------------------------------------ what is left out


def test_rules_that_are_left_out_because_they_can_find_nothing_find_nothing() -> None:
    """`explain` looks at every rule, a check leaves out those with nothing to look for (`Rule.looks_for`): the decision is the same."""
    for seed, world, _ in worlds():
        matrix = Matrix(world.people.values(), MatrixState(1, world.now)) if world.people is not None else None
        compiled = CompiledHospital(world.hospital)
        try:
            watched = decide(world.order, compiled, matrix, world.history, world.now, lambda *seen: None)
        except OtherPatient:
            continue
        assert watched == decide(world.order, compiled, matrix, world.history, world.now), f"seed {seed}"

"""What a look-up says against what a check says, over random hospitals."""

from __future__ import annotations

import os
from itertools import islice

from msgspec.structs import replace

from app.engine.codes import normalize_procedure
from app.engine.decide import decide
from app.engine.hospital import CompiledHospital
from app.engine.lookup import RULES, Lookup, refuses
from app.engine.matrix import Matrix
from app.engine.model import ByCheckpoint, Disposition, MatrixState, Order, Urgency
from tests.properties.hospitals import random_world

SEEDS = int(os.environ.get("SURGATE_TEST_SEEDS", "3000")) // 3
DENYING = (Disposition.OVERRIDABLE, Disposition.FINAL)
LOOKED_AT = frozenset(code for rule in RULES for code in rule.codes)


def plain(order: Order, operator: str) -> Order:
    """An elective order of one procedure by its code alone, for a patient of no age."""
    procedure = replace(order.procedures[0], operator=operator, item=None, service=None, name=None)
    return replace(
        order, urgency=Urgency.ELECTIVE, procedures=(procedure,), patient=replace(order.patient, birth_date=None), planned_start=None
    )


def test_whom_a_look_up_allows_no_check_of_that_day_and_department_refuses() -> None:
    allowed = 0
    for seed in range(SEEDS):
        world = random_world(seed)
        if world.people is None:
            continue
        hospital = CompiledHospital(world.hospital)
        matrix = Matrix(world.people.values(), MatrixState(1, world.now))
        lookup = Lookup(hospital, matrix, world.order.department, None, world.now)
        by_checkpoint = any(isinstance(ruled, ByCheckpoint) for ruled in world.hospital.policy.dispositions.values())
        for number in islice(world.people, 3):
            order = plain(world.order, number)
            ctx = lookup.procedure(order.procedures[0].code, number)
            against = lookup.findings(ctx)
            decision = decide(order, hospital, matrix, None, world.now)
            found = {f.code for f in decision.procedures[0].findings if f.disposition in DENYING and f.code in LOOKED_AT}
            listed = {c.staff for c in lookup.operators(ctx)}
            assert not ctx.resolved.entries or (number in listed) == (not refuses(against)), seed
            if not refuses(against):
                allowed += 1
                assert not found, (seed, number, found)
            elif not ctx.resolved.watch and not by_checkpoint:
                assert found == {f.code for f in against if f.disposition in DENYING}, (seed, number)
    assert allowed > SEEDS // 100


def test_what_a_person_may_do_is_what_the_look_up_of_each_entry_alone_allows() -> None:
    for seed in range(SEEDS // 4):
        world = random_world(seed)
        if world.people is None:
            continue
        hospital = CompiledHospital(world.hospital)
        matrix = Matrix(world.people.values(), MatrixState(1, world.now))
        department = hospital.catalog.department(world.order.department)
        lookup = Lookup(hospital, matrix, department, None, world.now)
        for number in islice(world.people, 3):
            row = matrix.rows[number]
            listed = {p.code for p in lookup.privileges(row)}
            for code, code_row in hospital.catalog.rows.items():
                own = [e for e in code_row.remaining(department) if e.code == code]
                if normalize_procedure(code) == code and len(code_row.remaining(department)) == 1 and own:
                    assert (code in listed) == (not refuses(lookup.findings(lookup.procedure(code, number)))), (seed, number, code)

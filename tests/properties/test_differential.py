"""The compiled engine and its reference form give the same answer to random cases.

`SURGATE_TEST_SEEDS` says how many. A failure names its seed; `random_world(seed)` is the case.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from app.engine.decide import decide
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import Decision, Finding, MatrixState, ProcedureResult, Verdict
from app.engine.reasons import PRECEDENCE, REASONS
from app.engine.reference import Found, Judged, JudgedProcedure, judge
from tests.properties.hospitals import World, random_world

SEEDS = int(os.environ.get("SURGATE_TEST_SEEDS", "3000"))
MAX_FAILURES_SHOWN = 10


def test_both_forms_of_the_engine_agree() -> None:
    reasons: Counter[str] = Counter()
    verdicts: Counter[Verdict] = Counter()
    failures: list[str] = []
    for seed in range(SEEDS):
        world = random_world(seed)
        decision, judged = decided(world), judge(world.order, world.hospital, world.people, world.history, world.now)
        differences = list(compare(world, decision, judged))
        if differences:
            failures.append(f"seed {seed}:\n" + "\n".join(f"  {line}" for line in differences))
        found = [one.code for one in _all_findings(decision)]
        assert "rule_failed" not in found, f"seed {seed}: a rule raised"
        reasons.update(found)
        verdicts[decision.decision] += 1
    report = "\n".join(f"{reasons[code]:7} {code}" for code in REASONS)
    print(f"{SEEDS} seeds, {dict(verdicts)}\n{report}")
    assert not failures, f"{len(failures)} seeds differ (compiled | reference)\n" + "\n".join(failures[:MAX_FAILURES_SHOWN])
    assert set(REASONS) - set(reasons) == {"rule_failed"}, "reason codes that no case found"
    assert set(verdicts) == set(Verdict)


def decided(world: World) -> Decision:
    """The compiled engine's answer."""
    matrix = Matrix(world.people.values(), MatrixState(1, world.now)) if world.people is not None else None
    return decide(world.order, CompiledHospital(world.hospital), matrix, world.history, world.now)


def compare(world: World, decision: Decision, judged: Judged) -> Iterator[str]:
    """What differs between the two answers, a line for each field."""

    def differs(what: str, compiled: Any, reference: Any) -> Iterator[str]:
        if isinstance(compiled, list) and isinstance(reference, list) and set(compiled) != set(reference):
            compiled, reference = [one for one in compiled if one not in reference], [one for one in reference if one not in compiled]
        if compiled != reference:
            yield f"{what}: {compiled!r} | {reference!r}"

    for found in _by_subject(decision):
        ranks = [PRECEDENCE[one.code] for one in found]
        yield from differs("findings by precedence", ranks, sorted(ranks))
    yield from differs("decision", decision.decision, judged.decision)
    other_patient = world.history is not None and world.history.patient_id != world.order.patient.id
    yield from differs("flags", decision.flags, ("other_patient",) if other_patient else ())
    yield from differs("overridable", decision.overridable, judged.overridable)
    yield from differs("level", decision.level, judged.level)
    yield from differs("case findings", _found(decision.findings), _found(judged.findings))
    yield from differs("obligations", sorted({one.code for one in decision.obligations}), judged.obligations)
    yield from differs("procedures", len(decision.procedures), len(judged.procedures))
    for index, (procedure, expected) in enumerate(zip(decision.procedures, judged.procedures, strict=False)):
        where = f"procedures[{index}] {expected.code}"
        yield from differs(f"{where} code", procedure.code, expected.code)
        yield from differs(f"{where} level", procedure.level, expected.level)
        yield from differs(f"{where} findings", _found(procedure.findings), _found(expected.findings))
        yield from differs(f"{where} verdict", procedure.decision, expected.verdict)
        yield from differs(f"{where} technologies", set(procedure.technologies), expected.technologies)
        yield from differs(f"{where} operators", [one.staff for one in procedure.operators], expected.operators)
        yield from differs(f"{where} candidates", _candidates(procedure), _expected_candidates(world, expected))
        codes = {world.hospital.entries[entry].code for entry in expected.entries}
        if codes and procedure.entry not in codes:
            yield f"{where} entry: {procedure.entry!r} | one of {codes!r}"
    yield from differs("team", [(one.staff, one.role) for one in decision.team], [(one.staff, one.role) for one in judged.team])
    for member, wanted in zip(decision.team, judged.team, strict=False):
        where = f"team {wanted.staff} {wanted.role}"
        yield from differs(f"{where} findings", _found(member.findings), _found(wanted.findings))
        yield from differs(f"{where} verdict", member.decision, wanted.verdict)
        yield from differs(f"{where} operators", [one.staff for one in member.operators], wanted.operators)
    compiled, reference = decision.override, judged.override
    yield from differs("override", compiled is not None, reference is not None)
    if compiled is not None and reference is not None:
        yield from differs("override state", compiled.state, reference.state)
        yield from differs("override late", compiled.late, reference.late)
        yield from differs("override missing", compiled.missing, reference.missing)
        yield from differs("override flags", compiled.flags, reference.flags)


def _found(findings: Iterable[Finding | Found]) -> list[str]:
    pairs = {(one.code, one.disposition) if isinstance(one, Finding) else one for one in findings}
    return sorted(f"{reason_code} {disposition}" for reason_code, disposition in pairs)


def _candidates(procedure: ProcedureResult) -> list[tuple[object, ...]]:
    return sorted(
        (one.code, one.name, one.level, one.departments, one.hospital_grade, one.item, one.service, one.standing)
        for one in procedure.candidates
    )


def _expected_candidates(world: World, procedure: JudgedProcedure) -> list[tuple[object, ...]]:
    """The entries that remain, where there is more than one."""
    entries = [world.hospital.entries[index] for index in procedure.entries]
    if len(entries) < 2:
        return []
    return sorted(
        (one.code, one.name, one.level, one.departments, one.hospital_grade, one.item, one.service, standing)
        for one, standing in zip(entries, procedure.standing, strict=True)
    )


def _all_findings(decision: Decision) -> list[Finding]:
    return [one for found in _by_subject(decision) for one in found]


def _by_subject(decision: Decision) -> list[tuple[Finding, ...]]:
    return [decision.findings, *(one.findings for one in decision.procedures), *(one.findings for one in decision.team)]

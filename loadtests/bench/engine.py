"""The engine in process against its peers, and by itself.

Everything runs on one core, in rounds in which the contestants take turns at the same shuffled questions, so that a noisy spell hits all
of them; what is written is the median of the rounds with the range of all. Before any clock starts the contestants must give the same
answers.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from app.engine.decide import decide
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import Hospital, MatrixState, Order, Verdict
from loadtests import worlds
from loadtests.bench.figures import Spread, percentile, spread
from loadtests.peers import Casbin, Cedar, Contestant, Rego, SurgateDecision, SurgateGrants
from loadtests.worlds import Question


class Plan(NamedTuple):
    """How much is run. `grants` of the matrices, the largest last, on which the peers answer as well."""

    grants: tuple[int, ...] = (4_000, 40_000, 400_000)
    checked: int = 10_000
    """Questions that all contestants must answer alike."""
    asked: int = 5_000
    """Questions, and orders of each kind, in one round."""
    rounds: int = 9


class Pace(NamedTuple):
    """Microseconds that one contestant needs for a question: half of them allowed, and each half by itself."""

    mixed: Spread
    allowed: Spread
    denied: Spread


class Latency(NamedTuple):
    """Microseconds for an order."""

    median: Spread
    p99: Spread


class Built(NamedTuple):
    """What the largest matrix costs: seconds to compile the catalog and the rows, bytes that they then hold."""

    hospital_s: float
    matrix_s: float
    matrix_bytes: int
    people: int


class Described(NamedTuple):
    """A contestant as the tables tell of it."""

    name: str
    given: str
    does: str
    every: int


class Measured(NamedTuple):
    """Everything that goes into the tables. Latencies are by number of grants and by whether the order is allowed."""

    plan: Plan
    built: Built
    paces: Mapping[str, Pace]
    latencies: Mapping[tuple[int, bool], Latency]
    contestants: Sequence[Described]


class World(NamedTuple):
    """A hospital with people, compiled, and what is asked of it."""

    grants: int
    hospital: CompiledHospital
    matrix: Matrix
    held: dict[str, tuple[str, ...]]
    questions: list[Question]


class Disagreement(Exception):
    """Contestants answer a question differently: a comparison of their speed would say nothing."""


def measure(plan: Plan) -> Measured:
    """Build the worlds, see that all contestants agree, let them run.

    Raises:
        Disagreement: the contestants do not answer alike.
    """
    source = worlds.hospital()
    built = build_cost(source, plan.grants[-1])
    hospital = CompiledHospital(source)
    made = [make_world(source, hospital, grants, plan.checked) for grants in plan.grants]
    largest = made[-1]
    contestants: list[Contestant] = [
        SurgateGrants(hospital, largest.matrix),
        SurgateDecision(hospital, largest.matrix),
        Casbin(largest.held),
        Cedar(largest.held),
        Rego(largest.held),
    ]
    must_agree(contestants, largest.questions)
    gc.collect()
    gc.freeze()  # as a service does with rows that stay: otherwise a full collection walks them in the middle of somebody's round
    try:
        paces = race(contestants, largest.questions[: plan.asked], plan.rounds)
        latencies = order_latencies(made, plan)
    finally:
        gc.unfreeze()
    return Measured(plan, built, paces, latencies, [Described(c.name, c.given, c.does, c.every) for c in contestants])


def make_world(source: Hospital, hospital: CompiledHospital, grants: int, asked: int) -> World:
    """The world of that many grants, with its questions."""
    matrix = worlds.matrix(source, grants)
    held = worlds.codes_in_force(source, worlds.people(source, grants))
    return World(grants, hospital, matrix, held, worlds.questions(source, held, asked))


def build_cost(source: Hospital, grants: int) -> Built:
    """What compiling costs. Time and memory are taken in runs of their own, since counting memory slows everything down."""
    start = time.process_time()
    CompiledHospital(source)
    hospital_s = time.process_time() - start
    everybody = list(worlds.people(source, grants))
    start = time.process_time()
    Matrix(everybody, MatrixState(version=1, as_of=worlds.NOW))
    matrix_s = time.process_time() - start
    count = len(everybody)
    del everybody
    gc.collect()
    tracemalloc.start()
    try:
        matrix = worlds.matrix(source, grants)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del matrix
    gc.collect()
    return Built(hospital_s, matrix_s, held, count)


def must_agree(contestants: Iterable[Contestant], questions: Sequence[Question]) -> None:
    """See that every contestant gives the right answer to every question, or to one in as many as it is asked.

    Raises:
        Disagreement: one does not; the first such question is named.
    """
    for contestant in contestants:
        for number, question in enumerate(questions[:: contestant.every]):
            if contestant.ask(contestant.prepare(question, number)) is not question.allowed:
                raise Disagreement(f"{contestant.name} answers {not question.allowed} to {question}")


def race(contestants: Sequence[Contestant], questions: Sequence[Question], rounds: int) -> dict[str, Pace]:
    """Each contestant's time per question, by name. In each round all take their turn, another one first each time.

    It is the process's own time, so that a neighbour on the core does not count as somebody's slowness.
    """
    prepared = {c.name: _prepared(c, questions) for c in contestants}
    taken: dict[tuple[str, bool], list[float]] = {(c.name, allowed): [] for c in contestants for allowed in (True, False)}
    for turn in range(rounds):
        first = turn % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            for allowed, part in prepared[contestant.name].items():
                taken[contestant.name, allowed].append(_time_of(contestant, part))
    counts = {name: {allowed: len(part) for allowed, part in parts.items()} for name, parts in prepared.items()}
    return {c.name: _pace(taken[c.name, True], taken[c.name, False], counts[c.name]) for c in contestants}


def _prepared(contestant: Contestant, questions: Sequence[Question]) -> dict[bool, list[Any]]:
    parts: dict[bool, list[Any]] = {True: [], False: []}
    for number, question in enumerate(questions[:: contestant.every]):
        parts[question.allowed].append(contestant.prepare(question, number))
    return parts


def _time_of(contestant: Contestant, prepared: Iterable[Any]) -> float:
    ask = contestant.ask
    start = time.process_time()
    for one in prepared:
        ask(one)
    return time.process_time() - start


def _pace(allowed: Sequence[float], denied: Sequence[float], counts: Mapping[bool, int]) -> Pace:
    every = sum(counts.values())
    return Pace(
        mixed=spread((a + d) / every * 1e6 for a, d in zip(allowed, denied, strict=True)),
        allowed=spread(a / counts[True] * 1e6 for a in allowed),
        denied=spread(d / counts[False] * 1e6 for d in denied),
    )


def order_latencies(made: Sequence[World], plan: Plan) -> dict[tuple[int, bool], Latency]:
    """The time of typical orders, each one timed by itself, at every size of the matrix, by turns."""
    orders = {(w.grants, allowed): _orders(w, plan.asked, allowed) for w in made for allowed in (True, False)}
    medians: dict[tuple[int, bool], list[float]] = {key: [] for key in orders}
    p99s: dict[tuple[int, bool], list[float]] = {key: [] for key in orders}
    for _ in range(plan.rounds):
        for world in made:
            for allowed in (True, False):
                key = world.grants, allowed
                taken = sorted(_times_of(world, orders[key], Verdict.ALLOW if allowed else Verdict.DENY))
                medians[key].append(percentile(taken, 0.5) / 1e3)
                p99s[key].append(percentile(taken, 0.99) / 1e3)
    return {key: Latency(spread(medians[key]), spread(p99s[key])) for key in orders}


def _orders(world: World, count: int, allowed: bool) -> list[Order]:
    return worlds.typical_orders([q for q in world.questions if q.allowed is allowed][:count], world.grants)


def _times_of(world: World, orders: Iterable[Order], expected: Verdict) -> list[int]:
    """Nanoseconds of each decision; reading the clock, some 0.05 µs, is in it."""
    hospital, matrix, clock, taken = world.hospital, world.matrix, time.perf_counter_ns, []
    for order in orders:
        start = clock()
        decision = decide(order, hospital, matrix, None, worlds.NOW)
        taken.append(clock() - start)
        if decision.decision is not expected:
            raise Disagreement(f"{order.request_id} is {decision.decision}, not {expected}")
    return taken

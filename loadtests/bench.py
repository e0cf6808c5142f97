"""The engine against its targets and its peers: `python -m loadtests.bench`, or `make bench`.

Everything runs on one core, in rounds in which the contestants take turns at the same shuffled questions, so that a noisy spell hits all
of them; what is written is the median of the rounds with the range of all. Before any clock starts the contestants must give the same
answers. The figures go to `RESULTS.md` as measured, whether a target is met or not; nothing fails on a figure.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from app.engine.decide import decide
from app.engine.hospital import CompiledHospital
from app.engine.matrix import Matrix
from app.engine.model import Hospital, MatrixState, Order, Verdict
from loadtests import worlds
from loadtests.peers import Casbin, Cedar, Contestant, SurgateDecision, SurgateGrants
from loadtests.worlds import Question

RESULTS = Path(__file__).parent / "RESULTS.md"

OURS = (SurgateGrants.name, SurgateDecision.name)

TARGET_RATIO = 20.0
"""How many times as many decisions per second as the best peer."""

TARGET_ORDER_US = 15.0
"""Microseconds for a typical order, median."""

TARGET_GROWTH = 1.2
"""What "does not grow with the matrix" means: a hundred times the grants leave the processor's caches, and that is all that may show."""


class Plan(NamedTuple):
    """How much is run. `grants` of the matrices, the largest last, on which the peers answer as well."""

    grants: tuple[int, ...] = (4_000, 40_000, 400_000)
    checked: int = 10_000
    """Questions that all contestants must answer alike."""
    asked: int = 5_000
    """Questions, and orders of each kind, in one round."""
    rounds: int = 9


class Spread(NamedTuple):
    """The median of the rounds, and the least and the most of them."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:,.1f} ({self.least:,.1f}–{self.most:,.1f})"


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


class Measured(NamedTuple):
    """Everything that goes into the tables. Latencies are by number of grants and by whether the order is allowed."""

    plan: Plan
    built: Built
    paces: Mapping[str, Pace]
    latencies: Mapping[tuple[int, bool], Latency]
    contestants: Sequence[Contestant]


class World(NamedTuple):
    """A hospital with people, compiled, and what is asked of it."""

    grants: int
    hospital: CompiledHospital
    matrix: Matrix
    held: dict[str, tuple[str, ...]]
    questions: list[Question]


class Disagreement(Exception):
    """Contestants answer a question differently: a comparison of their speed would say nothing."""


# ------------------------------------------------------------------------------------------------ measuring


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
    ]
    must_agree(contestants, largest.questions)
    gc.collect()
    gc.freeze()  # as a service does with rows that stay: otherwise a full collection walks them in the middle of somebody's round
    try:
        paces = race(contestants, largest.questions[: plan.asked], plan.rounds)
        latencies = order_latencies(made, plan)
    finally:
        gc.unfreeze()
    return Measured(plan, built, paces, latencies, contestants)


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
    """See that every contestant gives the right answer to every question.

    Raises:
        Disagreement: one does not; the first such question is named.
    """
    for contestant in contestants:
        for number, question in enumerate(questions):
            if contestant.ask(contestant.prepare(question, number)) is not question.allowed:
                raise Disagreement(f"{contestant.name} answers {not question.allowed} to {question}")


def race(contestants: Sequence[Contestant], questions: Sequence[Question], rounds: int) -> dict[str, Pace]:
    """Each contestant's time per question, by name. In each round all take their turn, another one first each time.

    It is the process's own time, so that a neighbour on the core does not count as somebody's slowness.
    """
    prepared = {c.name: _prepared(c, questions) for c in contestants}
    taken: dict[tuple[str, bool], list[float]] = {(c.name, allowed): [] for c in contestants for allowed in (True, False)}
    counts = {allowed: sum(q.allowed is allowed for q in questions) for allowed in (True, False)}
    for turn in range(rounds):
        first = turn % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            for allowed, part in prepared[contestant.name].items():
                taken[contestant.name, allowed].append(_time_of(contestant, part))
    return {c.name: _pace(taken[c.name, True], taken[c.name, False], counts) for c in contestants}


def _prepared(contestant: Contestant, questions: Sequence[Question]) -> dict[bool, list[Any]]:
    parts: dict[bool, list[Any]] = {True: [], False: []}
    for number, question in enumerate(questions):
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
                medians[key].append(taken[len(taken) // 2] / 1e3)
                p99s[key].append(taken[len(taken) * 99 // 100] / 1e3)
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


def spread(values: Iterable[float]) -> Spread:
    """Median and range."""
    every = list(values)
    return Spread(statistics.median(every), min(every), max(every))


# ------------------------------------------------------------------------------------------------ writing


def report(measured: Measured, surroundings: Sequence[str]) -> str:
    """The results as Markdown: the targets first, then what lies behind each."""
    parts = (
        "# Results\n\nWritten by `make bench`; do not edit. Figures are the median of "
        f"{measured.plan.rounds} rounds, in brackets the least and the most of them. A microsecond is µs. Nothing fails on a figure.",
        "\n".join(f"- {line}" for line in surroundings),
        _targets(measured),
        _peers(measured),
        _orders_table(measured),
        _building(measured),
    )
    return "\n\n".join(parts) + "\n"


def _targets(measured: Measured) -> str:
    largest, smallest = measured.plan.grants[-1], measured.plan.grants[0]
    peer = best_peer(measured.paces)
    ratio = measured.paces[peer].mixed.median / measured.paces[SurgateGrants.name].mixed.median
    order = measured.latencies[largest, True].median
    growth = order.median / measured.latencies[smallest, True].median.median
    rows = [
        (
            f"the peers' question, {largest:,} grants: answers/s against the best peer ({peer})",
            f"{ratio:.2f} ×",
            f"≥ {TARGET_RATIO:.0f} ×",
            ratio >= TARGET_RATIO,
        ),
        (f"a typical order, {largest:,} grants: median µs", str(order), f"≤ {TARGET_ORDER_US:.0f}", order.median <= TARGET_ORDER_US),
        (f"the same, against {smallest:,} grants", f"{growth:.2f} ×", f"does not grow (≤ {TARGET_GROWTH} ×)", growth <= TARGET_GROWTH),
    ]
    lines = [f"| {what} | {value} | {target} | {'met' if met else 'not met'} |" for what, value, target, met in rows]
    return "\n".join(["## Targets", "", "| what | measured | target | |", "|---|---|---|---|", *lines])


def best_peer(paces: Mapping[str, Pace]) -> str:
    """The fastest that is not Surgate."""
    return min((name for name in paces if name not in OURS), key=lambda name: paces[name].mixed.median)


def _peers(measured: Measured) -> str:
    best = measured.paces[best_peer(measured.paces)].mixed.median
    lines = [
        f"| {name} | {1e6 / pace.mixed.median:,.0f} | {pace.mixed} | {pace.allowed} | {pace.denied} | {best / pace.mixed.median:.2f} × |"
        for name, pace in measured.paces.items()
    ]
    given = [f"| {c.name} | {c.given} | {c.does} |" for c in measured.contestants]
    plan = measured.plan
    return "\n".join(
        [
            "## The peers' question: may this surgeon do this code?",
            "",
            f"One question at a time, {plan.asked:,} per round about surgeons all over the matrix of {plan.grants[-1]:,} grants: the half that is "
            f"allowed, then the half that is denied. All gave the same answers to {plan.checked:,} questions beforehand. Times are the "
            "process's own on its core.",
            "",
            "| who | answers/s | µs each | µs allowed | µs denied | answers/s against the best peer |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            "They do not do the same:",
            "",
            "| who | what it is given | what it does |",
            "|---|---|---|",
            *given,
        ]
    )


def _orders_table(measured: Measured) -> str:
    lines = [
        f"| {grants:,} | {_word(allowed)} | {latency.median} | {latency.p99} |"
        for (grants, allowed), latency in sorted(measured.latencies.items(), key=lambda one: (not one[0][1], one[0][0]))
    ]
    return "\n".join(
        [
            "## A typical order",
            "",
            "One procedure and three team members, of whom one is an anesthesiologist with the patient's ASA class to answer for. In a denied order the "
            "operator lacks the privilege, and the answer names who has it. Each order is timed by itself, by the wall clock: in p99 "
            "is also what else the machine does.",
            "",
            "| grants | order | median µs | p99 µs |",
            "|---|---|---|---|",
            *lines,
        ]
    )


def _building(measured: Measured) -> str:
    built, grants = measured.built, measured.plan.grants[-1]
    return "\n".join(
        [
            "## Building",
            "",
            "| what | measured |",
            "|---|---|",
            f"| memory of the compiled matrix, {grants:,} grants of {built.people:,} people, grants included (tracemalloc) "
            f"| {built.matrix_bytes / 2**20:,.0f} MiB |",
            f"| compiling the matrix from people in memory | {built.matrix_s:.2f} s |",
            f"| compiling the hospital, {worlds.ENTRIES:,} catalog entries | {built.hospital_s:.3f} s |",
        ]
    )


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "denied"


# ------------------------------------------------------------------------------------------------ the machine


def pin_to_one_core() -> str:
    """Stay on one core where the system lets us; says what came of it."""
    if sys.platform != "linux":
        return "not pinned to a core: this system has no means for it"
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return "pinned to one core"


def surroundings(pinned: str) -> list[str]:
    """What the figures were measured on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("msgspec", "pycasbin", "cedarpy"))
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"{_processor()}, {os.cpu_count()} cores, {pinned}",
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}; {libraries}",
    ]
    if hasattr(os, "getloadavg"):
        lines.append(f"load of the machine when it began: {os.getloadavg()[0]:.1f} processes; above 1 the figures are noisy")
    return lines


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Measure, write the results beside this file, and show them."""
    where = surroundings(pin_to_one_core())
    text = report(measure(Plan()), where)
    RESULTS.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()

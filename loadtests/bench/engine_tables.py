"""What was measured of the engine, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from loadtests import worlds
from loadtests.bench.engine import Measured, Pace
from loadtests.bench.figures import table
from loadtests.bench.targets import Target
from loadtests.peers import SurgateDecision, SurgateGrants

OURS = (SurgateGrants.name, SurgateDecision.name)

TIMES_THE_BEST_PEER = 20.0
"""How many times as many decisions per second as the best peer."""

ORDER_US = 15.0
"""Microseconds for a typical order, median."""


def engine_targets(measured: Measured) -> list[Target]:
    """The engine's rows in the table of targets."""
    grants = measured.plan.grants[-1]
    peer = best_peer(measured.paces)
    ratio = measured.paces[peer].mixed.median / measured.paces[SurgateGrants.name].mixed.median
    order = measured.latencies[grants, True].median
    return [
        Target(
            f"the engine alone on the peers' question, {grants:,} grants: answers/s against the best peer in process ({peer})",
            ratio,
            TIMES_THE_BEST_PEER,
            at_least=True,
            unit="×",
        ),
        Target(f"the engine alone on a typical order, {grants:,} grants: median", order.median, ORDER_US, at_least=False, unit="µs"),
    ]


def engine_sections(measured: Measured) -> list[str]:
    """The tables behind them."""
    return [_peers(measured), _orders_table(measured), _building(measured)]


def best_peer(paces: Mapping[str, Pace]) -> str:
    """The fastest that is not Surgate."""
    return min((name for name in paces if name not in OURS), key=lambda name: paces[name].mixed.median)


def _peers(measured: Measured) -> str:
    best = measured.paces[best_peer(measured.paces)].mixed.median
    plan = measured.plan
    fewer = ", ".join(f"{c.name} one in {c.every}" for c in measured.contestants if c.every > 1)
    return "\n".join(
        [
            "## The peers' question in process: may this surgeon do this code?",
            "",
            f"One question at a time, {plan.asked:,} per round ({fewer} of them, being slow) about surgeons all over the matrix of {plan.grants[-1]:,} grants: "
            f"the half that is allowed, then the half that is denied; {plan.rounds} rounds. Their answers to {plan.checked:,} questions "
            f"({fewer}) were seen to be right beforehand. Times are the process's own on its core.",
            "",
            table(
                ("who", "answers/s", "µs each", "µs allowed", "µs denied", "answers/s against the best peer"),
                (
                    (name, f"{1e6 / pace.mixed.median:,.0f}", pace.mixed, pace.allowed, pace.denied, f"{best / pace.mixed.median:.3g} ×")
                    for name, pace in measured.paces.items()
                ),
            ),
            "",
            "They do not do the same:",
            "",
            table(("who", "what it is given", "what it does"), ((c.name, c.given, c.does) for c in measured.contestants)),
        ]
    )


def _orders_table(measured: Measured) -> str:
    in_order = sorted(measured.latencies.items(), key=lambda one: (not one[0][1], one[0][0]))
    return "\n".join(
        [
            "## A typical order in process",
            "",
            "One procedure and three team members, of whom one is an anesthesiologist with the patient's ASA class to answer for. In a denied order the "
            "operator lacks the privilege, and the answer names who has it. Each order is timed by itself, by the wall clock: in p99 "
            "is also what else the machine does.",
            "",
            table(
                ("grants", "order", "median µs", "p99 µs"),
                ((f"{grants:,}", "allowed" if allowed else "denied", one.median, one.p99) for (grants, allowed), one in in_order),
            ),
        ]
    )


def _building(measured: Measured) -> str:
    built, grants = measured.built, measured.plan.grants[-1]
    held = f"memory of the compiled matrix, {grants:,} grants of {built.people:,} people, grants included (tracemalloc)"
    rows = [
        (held, f"{built.matrix_bytes / 2**20:,.0f} MiB"),
        ("compiling the matrix from people in memory", f"{built.matrix_s:.2f} s"),
        (f"compiling the hospital, {worlds.ENTRIES:,} catalog entries", f"{built.hospital_s:.3f} s"),
    ]
    return f"## Building\n\n{table(('what', 'measured'), rows)}"

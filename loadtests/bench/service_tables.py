"""What was measured of the service, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from loadtests.bench.figures import number, table
from loadtests.bench.service import (
    AT_HALF_OF_CERBOS,
    AT_HALF_OF_ITSELF,
    EMBEDDED,
    SHARED,
    SUSPENDING_WORKERS,
    TWO,
    WITH_CHANGES,
    Measured,
    Waits,
)
from loadtests.bench.targets import Target
from loadtests.bench.wrk import CONNECTIONS
from loadtests.deployment import Memory
from loadtests.growth.figures import Figures

FIGURES = Path(__file__).parents[2] / "docs" / "performance" / "growth.json"

ECHO, CERBOS = "bare ASGI echo", "Cerbos"


def _of_many_hospitals() -> Target:
    """By the last figures of `make growth`: the group that has as little room in memory as 10,000,000 grants have by default."""
    what = "p99 with 10,000,000 grants of 500 hospitals, against 10,000 grants of one"
    if not FIGURES.exists():
        return Target(what, None, 1.3, False, "×", "measured by `make growth`")
    alone, *groups = msgspec.json.decode(FIGURES.read_bytes(), type=Figures).groups
    tight = min(groups, key=lambda seen: seen.group.memory_grants)
    of = f"`make growth`: {tight.group.hospitals} hospitals of {tight.group.grants:,} grants, memory for {tight.group.memory_grants:,}"
    return Target(what, tight.p99_ms / alone.p99_ms, 1.3, False, "×", of)


def service_targets(measured: Measured) -> list[Target]:
    """The service's rows in the table of targets."""
    grants = f"{measured.amount.grants:,} grants"
    return [
        _rates(measured, "`POST /v1/check` with durable audit, one worker: answers/s against a bare ASGI echo", EMBEDDED, ECHO, 0.6),
        _rates(measured, "the same on PostgreSQL and Redis, against the embedded store", SHARED, EMBEDDED, 0.8),
        _rates(measured, "the service with durable audit, against Cerbos with its file audit: checks/s", EMBEDDED, CERBOS, 10),
        _p99s(
            "the same: p99 at half of Cerbos's maximum",
            _waits(measured, EMBEDDED, AT_HALF_OF_CERBOS),
            _waits(measured, CERBOS, AT_HALF_OF_CERBOS),
            0.2,
        ),
        *(
            _p99s(
                f"p99 while one grant per second is changed, against no changes: {name}",
                _waits(measured, name, WITH_CHANGES),
                _waits(measured, name, AT_HALF_OF_ITSELF),
                1.2,
            )
            for name in (EMBEDDED, SHARED)
        ),
        _of_many_hospitals(),
        *(
            Target(f"suspend returning, {SUSPENDING_WORKERS} workers under load, p99: {one.subject}", one.p99, 50, False, "ms")
            for one in measured.suspended
        ),
        *(
            Target(f"memory per worker with {grants} in use: {name}", max(m.rss for m in held), 120, False, "MiB", f"RSS; PSS {_pss(held)}")
            for name, held in measured.memory.items()
        ),
        Target(f"process start to ready with {grants}", measured.ready.median, 2, at_least=False, unit="s"),
        _rates(measured, "two workers against one on two cores: answers/s", TWO, EMBEDDED, 1.8),
    ]


def service_sections(measured: Measured) -> list[str]:
    """The tables behind them."""
    return [_closed(measured), _open(measured), _changes(measured), _start(measured)]


def _rates(measured: Measured, what: str, name: str, against: str, limit: float) -> Target:
    one, other = measured.closed[name], measured.closed[against]
    return Target(what, one.rate.median / other.rate.median, limit, at_least=True, unit="×", note=_failed(one.failed + other.failed))


def _p99s(what: str, one: Waits, other: Waits, limit: float) -> Target:
    return Target(what, one.p99.median / other.p99.median, limit, at_least=False, unit="×", note=_failed(one.failed + other.failed))


def _failed(requests: int) -> str:
    return f"{requests:,} requests failed" if requests else ""


def _waits(measured: Measured, name: str, what: str) -> Waits:
    return next(one for one in measured.waits if one.subject == name and one.what == what)


def _closed(measured: Measured) -> str:
    amount, echo = measured.amount, measured.closed[ECHO].rate.median
    rows = []
    for name, one in measured.closed.items():
        sent, got = measured.bytes[name]
        rows.append((name, one.rate, f"{one.rate.median / echo:.3f}", one.failed, f"{sent:,.0f}", f"{got:,.0f}"))
    return _section(
        "Throughput over HTTP: a closed loop",
        f"wrk, {CONNECTIONS} connections, each of which sends its next request when it has its answer; {amount.rounds} rounds of {amount.pushed:.0f} s "
        f"after {amount.warm:.0f} s to warm up, in which all take turns while the others stand still. Orders of one procedure and three team members, "
        f"one in 20 denied, each with an id and a case of its own. Of {amount.verified} answers of each it was seen beforehand that they are right. "
        "Failed: answers that are none of success, and connections that failed.",
        table(("who", "answers/s", "against the echo", "failed", "bytes of a request", "bytes of an answer"), rows),
        "What they are given and do:",
        table(("who", "what it is given", "what it does"), ((s.name, s.given, s.does) for s in measured.subjects)),
    )


def _open(measured: Measured) -> str:
    amount = measured.amount
    rows = (
        (w.subject, w.what, f"{w.rate:,.0f}", w.p50, w.p99, w.p999, w.failed, number(w.late))
        for w in sorted(measured.waits, key=lambda w: w.what)
    )
    return _section(
        "Latency over HTTP: an open loop",
        f"Requests at a fixed rate, as they come from many who know nothing of each other (Poisson), {CONNECTIONS} connections, {amount.rounds} rounds of "
        f"{amount.opened:.0f} s after {amount.warm:.0f} s to warm up. What a client waits is counted from when its request was due, not from when it could "
        "be sent. Late: by how much the generator itself missed that instant, p99 of its worst round; it is within the other figures.",
        table(("who", "what", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "failed", "late ms"), rows),
    )


def _changes(measured: Measured) -> str:
    suspended = ((s.subject, f"{s.rate:,.0f}", s.calls, number(s.p50), number(s.p99), number(s.most), s.failed) for s in measured.suspended)
    imported = (
        (i.subject, f"{i.rate:,.0f}", f"{i.rows:,}", number(i.seconds), number(i.before), number(i.during), i.failed)
        for i in measured.imported
    )
    return _section(
        "Changes while checks run",
        f"Suspensions that return when every one of {SUSPENDING_WORKERS} workers honours them; the workers are on both cores, and so is the load.",
        table(("who", "checks/s", "suspensions", "p50 ms", "p99 ms", "most ms", "checks failed"), suspended),
        f"A CSV of further grants imported over HTTP into the {measured.amount.grants:,} that are there, one worker.",
        table(("who", "checks/s", "rows", "seconds", "p99 of checks before, ms", "during, ms", "checks failed"), imported),
    )


def _start(measured: Measured) -> str:
    rows = ((name, ", ".join(f"{m.rss:,.0f}" for m in held), _pss(held)) for name, held in measured.memory.items())
    return _section(
        "Memory and start",
        f"Per worker, after the load, {measured.amount.grants:,} grants in use. PSS counts what processes share by halves, thirds and so on.",
        table(("who", "RSS MiB", "PSS MiB"), rows),
        f"From the start of the first process until /readyz answers that it is ready, one worker, the embedded store: {measured.ready} s.",
    )


def _pss(held: Iterable[Memory]) -> str:
    return ", ".join("unknown" if m.pss is None else f"{m.pss:,.0f}" for m in held)


def _section(heading: str, *parts: str) -> str:
    return "\n\n".join((f"## {heading}", *parts))

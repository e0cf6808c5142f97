"""A group of many hospitals on one PostgreSQL against a hospital by itself: the time of a check over HTTP, durable record and all, at the same rate.

The checks are spread as in a real group, most on a few large hospitals: the share of the n-th is as 1/n. They come at fixed instants whether earlier
ones were answered or not, and each one's time counts from its instant, so that a stall shows on all who came meanwhile.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from app.cache.live import MAX_GRANTS
from app.engine.model import Hospital, Person
from app.store.keys import Role
from loadtests import worlds
from loadtests.deployment import Deployment, Store, seed, serving
from tests.served import call
from tests.servers import Postgres, postgres

CLIENTS = 32
"""Checks that may be under way at once before one waits for another, which then counts as its time."""

STEADY_SECONDS = 5.0
"""For how long the worker must have read no hospital before it counts as having read ahead what it has room for."""

READ_AHEAD_SECONDS = 900.0
SEPARATE_ORDERS = 2_000


class Group(msgspec.Struct, frozen=True):
    """Hospitals of equal size. `memory_grants`: the setting of that name, its default by default."""

    hospitals: int
    grants: int
    memory_grants: int = MAX_GRANTS


class Load(msgspec.Struct, frozen=True):
    """500 hospitals of 45 operations a day, each checked four times within eight hours, make three checks a second. The first `warm_seconds` are not
    counted: in them the memory comes to hold what is asked for most."""

    rate: float = 3.0
    warm_seconds: float = 20.0
    seconds: float = 100.0


class Seen(msgspec.Struct, frozen=True):
    """What was seen of a group. `reads`: hospitals read into memory while it was measured, each of which at least one check waited for; `held_grants` and
    `memory_mib`: the worker's afterwards; `failed`: answers that were not 200; `seed_s`: seconds to write it all by COPY; `read_ahead_s`: from ready until the
    worker had read what it has room for."""

    group: Group
    checks: int
    failed: int
    allowed: int
    p50_ms: float
    p99_ms: float
    reads: int
    held_grants: int
    memory_mib: float
    seed_s: float
    read_ahead_s: float


def measure(folder: Path, groups: Sequence[Group], load: Load) -> list[Seen]:
    """Each group on the same database server, one after the other; those that differ in the memory alone, on the same database."""
    made: dict[tuple[int, int], _Seeded] = {}
    seen: list[Seen] = []
    with postgres(folder / "postgres", shared_buffers="512MB", max_wal_size="4GB") as server:
        for group in groups:
            size = group.hospitals, group.grants
            if size not in made:
                made[size] = _seeded(folder, server, f"group{len(made)}", group)
            seen.append(_measure_one(made[size], group, load, name=f"G{len(seen)}"))
    return seen


class _Seeded(NamedTuple):
    """A group's database, and the seconds that it took to write."""

    store: Store
    seconds: float


def _seeded(folder: Path, server: Postgres, name: str, group: Group) -> _Seeded:
    server.execute(f"CREATE DATABASE {name}")
    began = time.perf_counter()
    store = seed(folder / name, _hospitals(group), server.url(name))
    server.execute("VACUUM ANALYZE", name)
    return _Seeded(store, time.perf_counter() - began)


class _Asked(NamedTuple):
    """One check: when it is due (`perf_counter`), and what it says."""

    due: float
    key: str
    body: bytes


class _Answered(NamedTuple):
    seconds: float
    status: int
    allowed: bool


def _measure_one(seeded: _Seeded, group: Group, load: Load, name: str) -> Seen:
    """`name`: begins the ids of its checks, which would be answered as they were before if they were asked again."""
    with serving(seeded.store, sorted(os.sched_getaffinity(0)), memory_grants=str(group.memory_grants)) as deployment:
        began = time.perf_counter()
        _read_ahead(deployment, group)
        read_ahead_s = time.perf_counter() - began - STEADY_SECONDS
        bodies = _bodies(group.grants)
        _asked(deployment, group, bodies, load.rate, load.warm_seconds, name=f"{name}-warm")
        before = _reads(deployment, group)
        answers = _asked(deployment, group, bodies, load.rate, load.seconds, name=name)
        taken = sorted(answer.seconds for answer in answers)
        return Seen(
            group,
            checks=len(answers),
            failed=sum(answer.status != 200 for answer in answers),
            allowed=sum(answer.allowed for answer in answers),
            p50_ms=taken[len(taken) // 2] * 1e3,
            p99_ms=taken[len(taken) * 99 // 100] * 1e3,
            reads=_reads(deployment, group) - before,
            held_grants=int(_metric(deployment, GRANTS)),
            memory_mib=sum(memory.rss for memory in deployment.memory()),
            seed_s=seeded.seconds,
            read_ahead_s=read_ahead_s,
        )


def _hospitals(group: Group) -> Iterator[tuple[Hospital, list[Person]]]:
    """The hospitals, alike but for their codes."""
    one = worlds.hospital()
    everybody = list(worlds.people(one, group.grants))
    for number in range(group.hospitals):
        yield msgspec.structs.replace(one, code=_code(number), name=f"{one.name}{number}"), everybody


def _code(number: int) -> str:
    return f"h{number:03}"


def _bodies(grants: int) -> list[dict[str, object]]:
    """Typical orders, one in ten of which is denied, as they go over the wire, ids left open."""
    source = worlds.hospital()
    held = worlds.codes_in_force(source, worlds.people(source, grants))
    questions = worlds.questions(source, held, SEPARATE_ORDERS)
    asked = [q for place, q in enumerate(questions) if q.allowed or place % 10 == 0]
    return [msgspec.to_builtins(order) | {"planned_start": None} for order in worlds.typical_orders(asked, grants)]


def _asked(
    deployment: Deployment, group: Group, bodies: Sequence[dict[str, object]], rate: float, seconds: float, name: str
) -> list[_Answered]:
    """Ask for that long; every answer."""
    rng = Random(name)
    shares = list(accumulate(1 / (number + 1) for number in range(group.hospitals)))
    hospitals = rng.choices(range(group.hospitals), cum_weights=shares, k=round(rate * seconds))
    begin = time.perf_counter() + 0.1
    asked = [
        _Asked(begin + number / rate, deployment.key(Role.HIS, _code(hospital)), _body(rng.choice(bodies), f"{name}-{number}"))
        for number, hospital in enumerate(hospitals)
    ]
    local, answers = threading.local(), []
    with ExitStack() as connections, ThreadPoolExecutor(CLIENTS) as pool:

        def ask(one: _Asked) -> _Answered:
            if not hasattr(local, "connection"):
                local.connection = deployment.served.connect()
                connections.callback(local.connection.close)
            reply = call(local.connection, "POST", "/v1/check", one.key, one.body)
            return _Answered(time.perf_counter() - one.due, reply.status, reply.json.get("decision") == "allow")

        for one in asked:
            time.sleep(max(0.0, one.due - time.perf_counter()))
            answers.append(pool.submit(ask, one))
        return [answer.result() for answer in answers]


def _body(order: dict[str, object], number: str) -> bytes:
    return msgspec.json.encode(order | {"request_id": number, "case_id": number, "patient": {"id": number}})


EVICTIONS, GRANTS = "surgate_matrix_evictions_total", "surgate_matrix_grants"


def _reads(deployment: Deployment, group: Group) -> int:
    """How often a hospital was read into memory so far. They are of one size, so that each that found no room put one out."""
    return int(_metric(deployment, EVICTIONS)) + int(_metric(deployment, GRANTS)) // group.grants


def _metric(deployment: Deployment, name: str) -> float:
    """The sum of a metric's series."""
    lines = deployment.served.call("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def _read_ahead(deployment: Deployment, group: Group) -> None:
    """Wait until the worker has read what it has room for."""
    deadline, seen, since = time.monotonic() + READ_AHEAD_SECONDS, -1, time.monotonic()
    while time.monotonic() - since < STEADY_SECONDS:
        assert time.monotonic() < deadline, "the hospitals are not read ahead"
        time.sleep(0.2)
        reads = _reads(deployment, group)
        if reads != seen:
            seen, since = reads, time.monotonic()

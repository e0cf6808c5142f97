"""One point of the engine's growth, measured in a process of its own: `python -m loadtests.growth.engine < TASK`, which prints a `Cost`.

The hospitals are what a worker has in its memory (`LiveHospital`): its people went through the form in which they are cached, so that what is equal
is one object. Each round asks other orders, as a day does: none finds its rows in the processor's caches because it has just been there.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import median
from typing import TypeAlias

import msgspec

from app.cache.live_hospital import LiveHospital
from app.cache.packed import pack_person, unpack_person
from app.engine.decide import decide
from app.engine.model import Hospital, Order, Person, Verdict
from app.store.hospitals import Itself, Loaded, Settings, Values
from loadtests import worlds
from loadtests.bench.engine import Disagreement
from loadtests.growth.plan import Plan, Point
from loadtests.machine import cores, pin

KINDS = ("allowed", "denied", "technology")
"""Orders that are timed: of a code that is no technology, allowed or not; and of one that is, allowed."""

Asked: TypeAlias = tuple[LiveHospital, Order]


class Task(msgspec.Struct, frozen=True):
    """What is measured. `traced`: the memory alone, counted object by object."""

    point: Point
    asked: int
    rounds: int
    traced: bool


class Pace(msgspec.Struct, frozen=True):
    """Microseconds for a decision: medians over the rounds of their median and of their p99. `orders`: different ones in all."""

    median_us: float
    p99_us: float
    orders: int


class Cost(msgspec.Struct, frozen=True):
    """What a point costs. `held_bytes`: what the hospitals take in memory; `paces`: by kind of order, none where memory is traced; `compile_s`:
    seconds to compile the hospitals once they are read; `staff`: people in all."""

    staff: int
    held_bytes: int
    compile_s: float
    paces: dict[str, Pace]


def run(plan: Plan, point: Point, *, traced: bool) -> Cost:
    """The cost of a point, from a fresh process."""
    task = msgspec.json.encode(Task(point, plan.asked, plan.rounds, traced))
    made = subprocess.run([sys.executable, "-m", __name__], input=task, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(made.stdout, type=Cost)


def measure(task: Task) -> Cost:
    """The cost of a point, in this process."""
    gc.disable()  # nothing that is built here is garbage, and a collection walks all of it
    if task.traced:
        tracemalloc.start()
    before = _bytes_held(task.traced)
    sources = [worlds.hospital(task.point.shape, f"bench{number}") for number in range(task.point.hospitals)]
    loaded = [Loaded(Itself(source, Settings()), _people(source, task.point), 1) for source in sources]
    start = time.process_time()
    held = [LiveHospital.of(one, worlds.NOW) for one in loaded]
    compile_s = time.process_time() - start
    del loaded
    gc.enable()
    gc.collect()
    held_bytes = _bytes_held(task.traced) - before
    paces = {}
    if task.traced:
        tracemalloc.stop()
    else:
        orders = _orders(held, task)
        gc.collect()
        gc.freeze()  # as in a service whose rows stay
        paces = {kind: _pace(orders[kind], task, Verdict.DENY if kind == "denied" else Verdict.ALLOW) for kind in KINDS if kind in orders}
        gc.unfreeze()
    return Cost(sum(len(live.people) for live in held), held_bytes, compile_s, paces)


def _people(source: Hospital, point: Point) -> dict[str, Person]:
    """A hospital's people as they come out of the cache."""
    values = Values()
    everybody = (unpack_person(pack_person(person), values) for person in worlds.people(source, point.grants, point.shape))
    return {person.staff.staff: person for person in everybody}


def _bytes_held(traced: bool) -> int:
    if traced:
        return tracemalloc.get_traced_memory()[0]
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


def _orders(held: Sequence[LiveHospital], task: Task) -> Mapping[str, list[Asked]]:
    """Orders for all rounds by kind, shuffled over the hospitals."""
    found: dict[str, list[Asked]] = defaultdict(list)
    each = -(-task.asked * task.rounds * 3 // len(held))
    for live in held:
        codes = worlds.codes_in_force(live.hospital, live.people.values())
        technologies = {code for technology in live.hospital.technologies for way in technology.identify for code in way.codes}
        questions = worlds.questions(live.hospital, codes, each)
        for question, order in zip(questions, worlds.typical_orders(questions, task.point.grants, task.point.shape), strict=True):
            if question.code not in technologies:
                found["allowed" if question.allowed else "denied"].append((live, order))
            elif question.allowed:
                found["technology"].append((live, order))
    for orders in found.values():
        Random(len(orders)).shuffle(orders)
        del orders[task.asked * task.rounds :]
    return found


def _pace(orders: Sequence[Asked], task: Task, expected: Verdict) -> Pace:
    """Each round has its part of the orders; where there are few, all of them each time."""
    each = len(orders) // task.rounds
    parts = [orders[turn * each : (turn + 1) * each] for turn in range(task.rounds)] if each >= task.asked // 2 else [orders] * task.rounds
    rounds = [sorted(_times(part, expected)) for part in parts]
    return Pace(
        median(taken[len(taken) // 2] for taken in rounds) / 1e3,
        median(taken[len(taken) * 99 // 100] for taken in rounds) / 1e3,
        len(orders),
    )


def _times(asked: Sequence[Asked], expected: Verdict) -> list[int]:
    """Nanoseconds of each decision; reading the clock, some 0.05 µs, is in it."""
    clock, taken = time.perf_counter_ns, []
    for live, order in asked:
        start = clock()
        decision = decide(order, live.compiled, live.matrix, None, worlds.NOW)
        taken.append(clock() - start)
        if decision.decision is not expected:
            raise Disagreement(f"{order.request_id} is {decision.decision}, not {expected}")
    return taken


if __name__ == "__main__":
    pin(cores().server)
    sys.stdout.buffer.write(msgspec.json.encode(measure(msgspec.json.decode(sys.stdin.buffer.read(), type=Task))))

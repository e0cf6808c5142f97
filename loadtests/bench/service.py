"""The service against its targets and its peers, over HTTP.

Everybody who is measured has the server's core, and while it is another one's turn every process stands still. The load, the databases and this
process have the other core. In each round all take their turn, another one first each time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from app.engine.model import Hospital, Person
from loadtests import wire, worlds
from loadtests.bench.engine import Disagreement
from loadtests.bench.figures import Spread, percentile, spread
from loadtests.bench.office import Office, more_grants
from loadtests.bench.subjects import Subject, Surgate, bare_echo, cerbos, cerbos_body
from loadtests.bench.wrk import fresh_tag, push
from loadtests.deployment import Deployment, Memory, Store, on_cores, one_hospital, seed, serving
from loadtests.machine import Cores
from loadtests.open_loop import Load, Plan, Ran
from tests.servers import Postgres, Redis, postgres, redis

EMBEDDED, SHARED, TWO = "Surgate, embedded store", "Surgate, PostgreSQL and Redis", "Surgate, embedded store, two workers"
DATABASE = "surgate"
SUSPENDING_WORKERS = 4
SUSPEND_EVERY_SECONDS = 0.1
LONGEST_SECONDS = 600.0
"""Of a load that is ended when something else has come to its end."""

Tell = Callable[[str], None]


class Amount(NamedTuple):
    """How much is run; times are seconds. `verified`: requests whose answers are looked at beforehand; `imported`: rows of the import."""

    grants: int = 400_000
    bodies: int = 4_000
    verified: int = 200
    rounds: int = 3
    warm: float = 2.0
    pushed: float = 8.0
    opened: float = 10.0
    suspends: int = 100
    starts: int = 3
    imported: int = 100_000


class Throughput(NamedTuple):
    """Answers of success a second, and requests that failed in all rounds."""

    rate: Spread
    failed: int


class Waits(NamedTuple):
    """What clients waited at a fixed rate, in milliseconds. `late`: the p99 of by how much the generator itself was late, of the worst round."""

    subject: str
    what: str
    rate: float
    p50: Spread
    p99: Spread
    p999: Spread
    failed: int
    late: float


class Suspended(NamedTuple):
    """What suspensions took to return while checks ran at that rate, in milliseconds."""

    subject: str
    rate: float
    calls: int
    p50: float
    p99: float
    most: float
    failed: int


class Imported(NamedTuple):
    """An import while checks ran at that rate: rows, seconds until it was in force, and what checks waited before and during it, in milliseconds."""

    subject: str
    rate: float
    rows: int
    seconds: float
    before: float
    during: float
    failed: int


class Measured(NamedTuple):
    """Everything that goes into the tables. By subject's name: `closed`, `memory`. `bytes`: means of requests and answers, by subject. `servers`: the
    databases with their versions."""

    amount: Amount
    closed: Mapping[str, Throughput]
    waits: Sequence[Waits]
    suspended: Sequence[Suspended]
    imported: Sequence[Imported]
    memory: Mapping[str, Sequence[Memory]]
    ready: Spread
    subjects: Sequence[Subject]
    bytes: Mapping[str, tuple[float, float]]
    servers: Sequence[str]


class _World(NamedTuple):
    """What is served and asked: the hospital, its people, the orders, and files of their bodies."""

    hospital: Hospital
    people: Sequence[Person]
    asked: Sequence[wire.Asked]
    orders: Path
    questions: Path


class _Run(NamedTuple):
    """One kind of open loop. `changing`: one grant per second is changed meanwhile."""

    subject: Subject
    what: str
    rate: float
    changing: bool = False


AT_HALF_OF_CERBOS, AT_HALF_OF_ITSELF, WITH_CHANGES = (
    "at half of Cerbos's maximum",
    "at half of its own maximum",
    "at half of its own maximum, one grant changed each second",
)


def measure(amount: Amount, cores: Cores, folder: Path, tell: Tell) -> Measured:
    """Set everything up and let it run.

    Raises:
        Disagreement: somebody answers otherwise than expected.
    """
    world = _world(amount, folder)
    tell("the embedded store")
    store = seed(folder / "embedded", one_hospital(amount.grants))
    twin = store.copy(folder / "twin")
    with postgres(folder / "postgres") as database, redis(folder / "redis") as cache:
        tell("PostgreSQL")
        database.execute(f"CREATE DATABASE {DATABASE}")
        redis_version = next(line for line in cache.call("INFO", "server").splitlines() if line.startswith("redis_version:"))
        servers = (f"PostgreSQL {database.execute('SHOW server_version')}", f"Redis {redis_version.partition(':')[2].strip()}")
        shared = seed(folder / "shared", one_hospital(amount.grants), database.url(DATABASE))
        tell("starts")
        ready = spread(_start(store, cores) for _ in range(amount.starts))
        with _subjects(world, cores, folder, store, twin, shared, database, cache) as subjects:
            sizes = {subject.name: _verify(subject, world, amount.verified) for subject in subjects}
            closed = _push_all(subjects, amount, cores, tell)
            waits = _open_all(subjects, closed, amount, cores, tell)
            memory = {s.name: s.deployment.memory() for s in subjects if isinstance(s, Surgate)}
        suspended, imported = [], []
        rate, low = closed[EMBEDDED].rate.median / 2, closed["Cerbos"].rate.median / 2
        table = more_grants(world.hospital, world.people, amount.imported)
        for name, of, redis_url in ((EMBEDDED, store, ""), (SHARED, shared, cache.url())):
            tell(f"suspensions: {name}")
            with serving(of, cores.both, workers=SUSPENDING_WORKERS, redis_url=redis_url) as deployment:
                suspended.append(_suspend(name, deployment, world, rate, amount, cores))
            tell(f"import: {name}")
            with serving(of, [cores.server], redis_url=redis_url) as deployment:
                imported.append(_import(name, deployment, world, low, table, amount, cores))
    return Measured(amount, closed, waits, suspended, imported, memory, ready, subjects, sizes, servers)


def _world(amount: Amount, folder: Path) -> _World:
    hospital = worlds.hospital()
    people = list(worlds.people(hospital, amount.grants))
    asked = wire.asked(hospital, people, amount.grants, amount.bodies)
    orders = wire.write_bodies(folder / "orders", map(wire.order_body, asked))
    questions = wire.write_bodies(folder / "questions", map(cerbos_body, asked))
    return _World(hospital, people, asked, orders, questions)


def _start(store: Store, cores: Cores) -> float:
    with serving(store, [cores.server]) as deployment:
        return deployment.ready_s


@contextmanager
def _subjects(
    world: _World, cores: Cores, folder: Path, store: Store, twin: Store, shared: Store, database: Postgres, cache: Redis
) -> Iterator[list[Subject]]:
    """Everybody, frozen."""
    with ExitStack() as stack:
        one = stack.enter_context(serving(store, [cores.server]))
        two = stack.enter_context(serving(twin, cores.both, workers=2))
        many = stack.enter_context(serving(shared, [cores.server], redis_url=cache.url()))
        other = stack.enter_context(cerbos(folder / "cerbos", cores.server, world.questions))
        matrix = f"the whole matrix of {sum(len(p.grants) for p in world.people):,} grants as rows of its store; orders of about 700 bytes"
        embedded = Surgate(EMBEDDED, one, world.orders, f"{matrix}; one worker")
        size = round(_verify(embedded, world, 20)[1])
        subjects: list[Subject] = [
            stack.enter_context(bare_echo(folder, cores.server, world.orders, size)),
            embedded,
            Surgate(SHARED, many, world.orders, f"{matrix}; one worker; PostgreSQL and Redis on the load's core", (database, cache)),
            other,
            Surgate(TWO, two, world.orders, f"{matrix}; two workers on both cores, on which the load is as well"),
        ]
        for subject in subjects:
            subject.freeze()
        yield subjects
        for subject in subjects:
            subject.thaw()


def _verify(subject: Subject, world: _World, count: int) -> tuple[float, float]:
    """See that it answers as it should; how many bytes its requests and answers have, on the average. It is frozen afterwards.

    Raises:
        Disagreement: it does not; the first such answer is shown.
    """
    subject.thaw()
    tag, sent, got = fresh_tag(), [], []
    bodies = subject.bodies.read_bytes().splitlines()[:count]
    for number, (body, asked) in enumerate(zip(bodies, world.asked, strict=False)):
        answer = subject.ask(wire.filled(body, tag, number))
        verdict = subject.verdict(json.loads(answer))
        if verdict is not None and verdict is not asked.allowed:
            raise Disagreement(f"{subject.name} answers {answer.decode()} to {body.decode()}")
        sent.append(len(body))
        got.append(len(answer))
    subject.freeze()
    return sum(sent) / len(sent), sum(got) / len(got)


def _rounds(count: int, everybody: Sequence[_Run]) -> Iterator[_Run]:
    for turn in range(count):
        first = turn % len(everybody)
        yield from (*everybody[first:], *everybody[:first])


def _push_all(subjects: Sequence[Subject], amount: Amount, cores: Cores, tell: Tell) -> dict[str, Throughput]:
    rates: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    failed = dict.fromkeys(rates, 0)
    for run in _rounds(amount.rounds, [_Run(subject, "closed loop", 0.0) for subject in subjects]):
        subject = run.subject
        within = on_cores(cores.both if subject.name == TWO else [cores.load])
        subject.thaw()
        push(subject, amount.warm, within)
        pushed = push(subject, amount.pushed, within)
        subject.freeze()
        rates[subject.name].append(pushed.rate)
        failed[subject.name] += pushed.failed
        tell(f"closed loop: {subject.name}: {pushed.rate:,.0f}/s, {pushed.failed} failed")
    return {name: Throughput(spread(values), failed[name]) for name, values in rates.items()}


def _open_all(subjects: Sequence[Subject], closed: Mapping[str, Throughput], amount: Amount, cores: Cores, tell: Tell) -> list[Waits]:
    by_name = {subject.name: subject for subject in subjects}
    low = closed["Cerbos"].rate.median / 2
    runs = [_Run(by_name[name], AT_HALF_OF_CERBOS, low) for name in (EMBEDDED, SHARED, "Cerbos")]
    for name in (EMBEDDED, SHARED):
        own = closed[name].rate.median / 2
        runs += [_Run(by_name[name], AT_HALF_OF_ITSELF, own), _Run(by_name[name], WITH_CHANGES, own, changing=True)]
    seen: dict[_Run, list[Ran]] = {run: [] for run in runs}
    for run in _rounds(amount.rounds, runs):
        subject = run.subject
        subject.thaw()
        office = Office(subject.deployment).changing() if run.changing and isinstance(subject, Surgate) else nullcontext()
        with office, _load(subject, run.rate, amount.opened, amount, on_cores([cores.load])) as load:
            ran = load.result()
        subject.freeze()
        seen[run].append(ran)
        tell(f"open loop, {run.rate:,.0f}/s: {subject.name} {run.what}: p99 {_ms(sorted(ran.latency), 0.99):.2f} ms, {ran.failed} failed")
    return [_waits(run, rans) for run, rans in seen.items()]


def _waits(run: _Run, rans: Sequence[Ran]) -> Waits:
    ordered = [sorted(ran.latency) for ran in rans]
    p50, p99, p999 = (spread(_ms(latencies, share) for latencies in ordered) for share in (0.5, 0.99, 0.999))
    late = max(_ms(sorted(ran.late), 0.99) for ran in rans)
    return Waits(run.subject.name, run.what, run.rate, p50, p99, p999, sum(ran.failed for ran in rans), late)


def _load(subject: Subject, rate: float, seconds: float, amount: Amount, within: list[str]) -> Load:
    plan = Plan(
        subject.port,
        subject.path,
        subject.authorization,
        str(subject.bodies),
        fresh_tag(),
        rate,
        amount.warm + seconds,
        amount.warm,
    )
    return Load(plan, within)


def _suspend(name: str, deployment: Deployment, world: _World, rate: float, amount: Amount, cores: Cores) -> Suspended:
    office, took = Office(deployment), []
    subject = Surgate(name, deployment, world.orders, "")
    step = max(2, amount.grants // amount.suspends)
    with _load(subject, rate, LONGEST_SECONDS, amount, on_cores(cores.both)) as load:
        load.wait_until_warm()
        for number in range(amount.suspends):
            took.append(office.turn(f"G-{number * step + 1}", "suspend"))
            time.sleep(SUSPEND_EVERY_SECONDS)
        ran = load.end()
    ordered = sorted(took)
    return Suspended(name, rate, len(took), _ms(ordered, 0.5), _ms(ordered, 0.99), ordered[-1] * 1e3, ran.failed)


def _import(name: str, deployment: Deployment, world: _World, rate: float, table: bytes, amount: Amount, cores: Cores) -> Imported:
    subject = Surgate(name, deployment, world.orders, "")
    with _load(subject, rate, LONGEST_SECONDS, amount, on_cores([cores.load])) as load:
        load.wait_until_warm()
        time.sleep(amount.opened)
        began = time.monotonic()
        seconds, reply = Office(deployment).import_grants(table)
        ended = time.monotonic()
        ran = load.end()
    return Imported(
        name,
        rate,
        reply.json["counts"]["added"],
        seconds,
        _ms(ran.between(0, began), 0.99),
        _ms(ran.between(began, ended), 0.99),
        ran.failed,
    )


def _ms(ordered: Sequence[float], share: float) -> float:
    return percentile(ordered, share) * 1e3

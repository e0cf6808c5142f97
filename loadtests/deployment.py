"""A store of any size with a service on it, as the benchmarks start them: real rows, real processes, each on the cores that it is given."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from app.audit.store import open_store
from app.engine.model import Hospital, Person
from app.settings import Settings
from app.store import changes, hospitals, keys
from app.store.changes import Change
from app.store.keys import Role
from app.store.migrate import migrate
from loadtests import worlds
from tests.served import START_SECONDS, Served

Keys = dict[str, str]
"""Role → the text of a key that has it."""

POLL_SECONDS = 0.005
KIB = 1024
MIB = 1024 * 1024


class Store(NamedTuple):
    """What a service is started on. `var`: its folder, which holds what proves the record, and the embedded store; `database_url` is empty where
    that is the store. `keys`: by hospital."""

    var: Path
    database_url: str
    keys: dict[str, Keys]

    def copy(self, var: Path) -> Store:
        """The same in another folder, for a service that is to begin as this one did. Of the embedded store alone."""
        assert not self.database_url, "a copy would share its database"
        shutil.copytree(self.var, var)
        return self._replace(var=var)


class Memory(NamedTuple):
    """What a process holds, in MiB. `pss`: what it shares with others is counted by halves, thirds and so on; None where it cannot be read."""

    rss: float
    pss: float | None


class Deployment:
    """A service that runs. `started`: `perf_counter` when its first process was; `ready_s`: seconds from then until /readyz answered that it is ready."""

    def __init__(self, served: Served, store: Store, started: float, ready_s: float) -> None:
        self.served = served
        self.store = store
        self.started = started
        self.ready_s = ready_s

    @property
    def port(self) -> int:
        return self.served.port

    def key(self, role: Role, hospital: str | None = None) -> str:
        """A key of a hospital, of the only one by default."""
        code = next(iter(self.store.keys)) if hospital is None else hospital
        return self.store.keys[code][role.value]

    def memory(self) -> list[Memory]:
        """What each worker holds now."""
        return [memory_of(pid) for pid in self.served.workers()]

    def ready(self) -> dict[str, Any]:
        """What /readyz answers."""
        answer: dict[str, Any] = self.served.call("GET", "/readyz").json
        return answer


def seed(var: Path, world: Iterable[tuple[Hospital, Iterable[Person]]], database_url: str = "") -> Store:
    """Make a store with hospitals, and a key of each role for each. It must be empty."""
    var.mkdir(parents=True, exist_ok=True)
    made = asyncio.run(_seed(Settings(var_dir=var, database_url=database_url), world))
    return Store(var, database_url, made)


def one_hospital(grants: int) -> list[tuple[Hospital, Iterable[Person]]]:
    """What `seed` takes: the hospital of `worlds` with that many grants."""
    source = worlds.hospital()
    return [(source, worlds.people(source, grants))]


@contextmanager
def serving(store: Store, cores: Sequence[int], workers: int = 1, redis_url: str = "", **settings: str) -> Iterator[Deployment]:
    """`surgate serve` on a store, all its processes on those cores, without a log line per request. It is stopped as an operator would at the end."""
    served = Served(
        store.var,
        **{"database_url": store.database_url, "redis_url": redis_url, "workers": str(workers), "access_log": "false", **settings},
    )
    served.within = on_cores(cores)
    try:
        started = time.perf_counter()
        served.start()
        _wait_until_ready(served)
        yield Deployment(served, store, started, time.perf_counter() - started)
        served.stop()
    finally:
        served.kill()


def on_cores(cores: Sequence[int]) -> list[str]:
    """The program that starts another one on those cores; all that it starts stays there too."""
    return ["taskset", "--cpu-list", ",".join(map(str, cores))]


def memory_of(process: int) -> Memory:
    """What a process holds now."""
    rollup = Path(f"/proc/{process}/smaps_rollup")
    try:
        sizes = _sizes(rollup.read_text())
    except PermissionError:
        return Memory(_sizes(Path(f"/proc/{process}/status").read_text())["VmRSS"] * KIB / MIB, None)
    return Memory(sizes["Rss"] * KIB / MIB, sizes["Pss"] * KIB / MIB)


def _sizes(text: str) -> Mapping[str, int]:
    """The lines of a file of /proc that give KiB."""
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) == 3 and words[2] == "kB"}


def _wait_until_ready(served: Served) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(served):
        assert time.monotonic() < deadline, "it does not become ready"
        time.sleep(POLL_SECONDS)


def _is_ready(served: Served) -> bool:
    try:
        return served.call("GET", "/readyz").status == 200
    except (OSError, http.client.HTTPException):
        return False


async def _seed(settings: Settings, world: Iterable[tuple[Hospital, Iterable[Person]]]) -> dict[str, Keys]:
    database, _ = open_store(settings)
    try:
        await migrate(database)
        made: dict[str, Keys] = {}
        for hospital, people in world:
            code = hospital.code
            made[code] = {}
            async with database.write(code) as connection:
                await hospitals.install(connection, hospital, list(people), hospitals.Settings(), "")
                await changes.append(connection, Change(code, "bench", "import", "pack", "merge"), datetime.now(UTC))
                for role in Role:
                    key, made[code][role.value] = await keys.create(connection, code, [role], role.value, None)
                    await changes.append(connection, keys.change_of(key, "bench", "create"), datetime.now(UTC))
        return made
    finally:
        await database.close()

"""A deployment of several nodes on one PostgreSQL and one Redis, all of them real processes that the test starts, with a proxy on each way between
them, and clients that keep what they were answered."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from app.audit.store import open_store
from app.imports.pack import import_pack
from app.settings import Settings
from app.store import keys
from app.store.migrate import migrate
from tests.served import ROOT, Reply, Served, an_order, call
from tests.servers import Postgres, Proxy, Redis, proxy, redis, removed

PACK = ROOT / "packs" / "wahh"
DATABASE = "surgate"
WAIT_SECONDS = 120
"""So that a test which would wait for ever fails."""


class Prepared(NamedTuple):
    """The folder of a PostgreSQL server that was stopped, holding the demo hospital; the seal key; and the keys by role."""

    data: Path
    seal_key: Path
    keys: dict[str, str]


class Node(NamedTuple):
    """One gateway, and its own ways to the database and to Redis."""

    gateway: Served
    database: Proxy
    redis: Proxy


class Fleet:
    """What a test deals with."""

    def __init__(self, database: Postgres, cache: Redis, nodes: Sequence[Node], prepared: Prepared) -> None:
        self.database = database
        self.cache = cache
        self.nodes = nodes
        self.keys = prepared.keys
        self.seal_key = prepared.seal_key

    def rows(self, query: str) -> list[list[str]]:
        """Rows of the database, read from outside; columns are parted by tabs."""
        return [line.split("\t") for line in self.database.psql("-F", "\t", "-c", query, database=DATABASE).splitlines()]

    def verify(self, node: int = 0) -> str:
        """What `surgate audit verify` says on a node; it must find nothing."""
        return verified(self.nodes[node].gateway, self.database)


def verified(gateway: Served, database: Postgres) -> str:
    """What `surgate audit verify` says on a gateway's node, of that database; it must find nothing."""
    return gateway.command("audit", "verify", SURGATE_DATABASE_URL=database.url(DATABASE))


@contextmanager
def fleet(
    folder: Path,
    prepared: Prepared,
    nodes: int = 2,
    workers: int = 2,
    environments: Sequence[Mapping[str, str]] = (),
    **settings: str,
) -> Iterator[Fleet]:
    """A deployment for the time of a test; `settings` are every gateway's, `environments` what else is in each one's environment."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        database = stack.enter_context(copied(folder / "postgres", prepared))
        cache = stack.enter_context(redis(folder / "redis"))
        made = []
        for number in range(nodes):
            to_database, to_redis = stack.enter_context(proxy(database.port)), stack.enter_context(proxy(cache.port))
            gateway = Served(
                folder / f"node{number}",
                **{
                    "database_url": database.url(DATABASE, to_database.port),
                    "redis_url": cache.url(to_redis.port),
                    "seal_key_file": str(prepared.seal_key),
                    "workers": str(workers),
                    "access_log": "false",
                    "reach_seconds": "1.0",
                    **settings,
                },
            )
            gateway.environment = dict(environments[number]) if environments else {}
            stack.callback(gateway.kill)
            gateway.start()
            made.append(Node(gateway, to_database, to_redis))
        yield Fleet(database, cache, made, prepared)


def prepare(folder: Path) -> Prepared:
    """Make a server's folder with the demo hospital and a key for each role, once for many tests."""
    folder.mkdir(parents=True)
    server = Postgres(folder / "server")
    server.initialize()
    server.start()
    try:
        server.execute(f"CREATE DATABASE {DATABASE}")
        made = asyncio.run(_install(Settings(var_dir=folder / "var", database_url=server.url(DATABASE))))
        server.stop()
    finally:
        server.kill()
    shutil.copytree(server.data, folder / "data")
    shutil.rmtree(server.folder)
    return Prepared(folder / "data", folder / "var" / "seal-key.pem", made)


class Answer(NamedTuple):
    """What a client got for a request: when it was sent and answered, on one clock; None where no whole answer came."""

    request_id: str
    node: int
    sent: float
    answered: float
    reply: Reply | None

    @property
    def decided(self) -> bool:
        return self.reply is not None and self.reply.status == 200

    @property
    def refused(self) -> bool:
        return self.reply is not None and not self.decided

    @property
    def degraded(self) -> bool:
        return self.reply is not None and self.decided and bool(self.reply.json["matrix"]["degraded"])


class Clients:
    """Clients that send one check after another, each on a connection of its own to one node, and keep everything that they were answered."""

    def __init__(
        self, gateways: Sequence[Served], key: str, prefix: str, each: int = 4, order: Callable[[str], dict[str, Any] | bytes] = an_order
    ) -> None:
        """`each`: clients of one gateway; `order` makes the body of a request's id."""
        self._gateways, self._key, self._prefix, self._order = gateways, key, prefix, order
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(node, number)) for node in range(len(gateways)) for number in range(each)]
        self.answers: list[Answer] = []

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, many: int, what: Callable[[Answer], bool] = lambda answer: answer.decided) -> None:
        """Wait until so many more such answers came, however slow the machine is."""
        seen, give_up = len(self.answers), time.monotonic() + WAIT_SECONDS
        while sum(map(what, self.answers[seen:])) < many:
            assert time.monotonic() < give_up, f"{len(self.answers) - seen} answers, not {many} of those that were waited for"
            time.sleep(0.01)

    def _run(self, node: int, number: int) -> None:
        connection: http.client.HTTPConnection | None = None
        sent = 0
        while not self._stop.is_set():
            sent += 1
            request_id = f"{self._prefix}-{node}-{number}-{sent}"
            began = time.monotonic()
            try:
                connection = connection or self._gateways[node].connect()
                reply = call(connection, "POST", "/v1/check", self._key, self._order(request_id))
            except (OSError, http.client.HTTPException):
                if connection is not None:
                    connection.close()
                reply, connection = None, None
            self.answers.append(Answer(request_id, node, began, time.monotonic(), reply))
            if reply is None or reply.status != 200:
                time.sleep(0.02)
        if connection is not None:
            connection.close()


@contextmanager
def copied(folder: Path, prepared: Prepared) -> Iterator[Postgres]:
    """A PostgreSQL server with the demo hospital for the time of a test."""
    server = Postgres(folder)
    with removed(server):
        server.take(prepared.data)
        server.start()
        yield server


async def _install(settings: Settings) -> dict[str, str]:
    database, _ = open_store(settings)
    await migrate(database)
    await import_pack(database, PACK)
    made = {}
    async with database.write(PACK.name) as connection:
        for role in keys.Role:
            _, made[role.value] = await keys.create(connection, PACK.name, [role], role.value, None)
    await database.close()
    return made

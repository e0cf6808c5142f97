"""Promises 1 and 6 on PostgreSQL: while it is killed, frozen or out of reach, decisions go on being kept; when it is back each of them is in its record
exactly once, in the order of its case, and every retry on any worker of the node gets the first answer.

Two workers of one node keep decisions as fast as they can, with copies of one request on both at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from app.store.breaker import Breaker
from app.store.database import Database
from app.store.decided import Record
from app.store.decisions import Ledger
from app.store.journal import Journal
from app.store.journal_drain import Drain
from app.store.postgres import Limits
from tests.fleet import DATABASE, Prepared, prepare
from tests.servers import Postgres, Proxy, proxy
from tests.store.records import a_record, an_opening

pytestmark = pytest.mark.anyio

BUSY = 8
"""Clients of each worker."""
MANY = 60
"""Decisions that are waited for before, during and after the fault."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("prepared") / "store")


@pytest.fixture
def server(prepared: Prepared, tmp_path: Path) -> Iterator[Postgres]:
    made = Postgres(tmp_path / "postgres")
    made.take(prepared.data)
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture
def way(server: Postgres) -> Iterator[Proxy]:
    with proxy(server.port) as made:
        yield made


class Worker:
    """What of a worker keeps decisions."""

    def __init__(self, url: str, journal: Path) -> None:
        self.database = Database(url, limits=Limits(connections=5))
        self.breaker = Breaker(self.database, 0.3)
        self.journal = Journal(journal)
        self.ledger = Ledger(self.database, self.journal, self.breaker)
        self.drain = Drain(self.journal, self.database, self.breaker)

    async def start(self) -> None:
        await self.journal.open()
        self.ledger.start()
        self.drain.start()

    async def stop(self) -> None:
        await self.ledger.stop()
        await self.drain.stop()
        await self.breaker.stop()
        await self.journal.close()
        await self.database.close()

    async def check(self, record: Record) -> bytes:
        """As a check does: what is known, then the decision. The answer."""
        before = await self.ledger.before(record.key, record.case_id)
        if before.earlier is not None:
            return before.earlier.answer
        clash = await self.ledger.record(record)
        return record.answer if clash is None else clash.answer


@pytest.fixture
async def node(server: Postgres, way: Proxy, tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    workers = [Worker(server.url(DATABASE, way.port), tmp_path / "journal") for _ in range(2)]
    for worker in workers:
        await worker.start()
    yield workers[0], workers[1]
    for worker in workers:
        await worker.stop()


@pytest.mark.parametrize("fault", ["killed", "frozen", "cut", "out of reach"])
async def test_whatever_befalls_the_database(node: tuple[Worker, Worker], server: Postgres, way: Proxy, fault: str) -> None:
    begin: dict[str, Callable[[], None]] = {"killed": server.kill, "frozen": server.freeze, "cut": way.cut, "out of reach": way.hang}
    end: dict[str, Callable[[], None]] = {"killed": server.start, "frozen": server.thaw, "cut": way.heal, "out of reach": way.heal}
    answers: dict[str, set[bytes]] = {}
    stop = asyncio.Event()

    async def client(number: int) -> None:
        sent = 0
        while not stop.is_set():
            request = f"R-{number}-{sent}"
            copies = [a_record(request, id=f"{request}-{copy}", answer=f"{request}-{copy}".encode()) for copy in range(2)]
            if sent % 10 == 0:
                copies = [one._replace(opening=an_opening(one.id)._replace(decision_id=one.id)) for one in copies]
            answers[request] = set(await asyncio.gather(*(worker.check(one) for worker, one in zip(node, copies, strict=True))))
            sent += 1
            await asyncio.sleep(0.05)  # the test is not about how many there are

    clients = [asyncio.create_task(client(number)) for number in range(BUSY)]
    await _until(lambda: len(answers) >= MANY)
    await asyncio.to_thread(begin[fault])
    before = len(answers)
    await _until(lambda: len(answers) >= before + MANY)
    assert not all(worker.breaker.closed for worker in node)
    await asyncio.to_thread(end[fault])
    await _until(lambda: all(worker.breaker.closed and not worker.journal.waiting for worker in node))
    before = len(answers)
    await _until(lambda: len(answers) >= before + MANY)
    stop.set()
    await asyncio.gather(*clients)
    await _until(lambda: not any(worker.journal.waiting for worker in node))

    assert {len(given) for given in answers.values()} == {1}, "one request, one decision"
    given = {request: next(iter(given)).decode() for request, given in answers.items()}
    rows = server.psql("-F", " ", "-c", "SELECT id FROM decisions ORDER BY seq", database=DATABASE).splitlines()
    assert len(rows) == len(set(rows))
    assert set(given.values()) <= set(rows)
    chained = server.psql("-c", "SELECT ref FROM chain WHERE kind = 'decision'", database=DATABASE).splitlines()
    assert sorted(chained) == sorted(rows)
    opened = server.psql("-c", "SELECT override_id FROM outbox", database=DATABASE).splitlines()
    assert len(opened) == len(set(opened))
    assert {f"o-{id_}" for request, id_ in given.items() if request.endswith("0")} <= set(opened)
    for worker in node:
        retried = await asyncio.gather(*(worker.check(a_record(request, id="again")) for request in given))
        assert [answer.decode() for answer in retried] == list(given.values())


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for has no event to tell of it
        await asyncio.sleep(0.02)

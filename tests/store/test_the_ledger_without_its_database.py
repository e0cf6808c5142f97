"""The ledger goes on when the database fails, hangs or loses its answers, and each decision is in the record once when it is back."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.store import decisions as decisions_module
from app.store import journal_drain, tables
from app.store.breaker import Breaker
from app.store.database import Database
from app.store.decided import Before, CaseTaken, Earlier, NotRecorded, Record
from app.store.decisions import Ledger
from app.store.journal import Journal, refused_files, segments
from app.store.journal_drain import REST_SECONDS, Busy, Drain
from app.store.journal_file import JournalFile, Kind, framed
from app.store.lane import Lane
from app.store.sqlite import _AtOnce
from tests.service.conftest import store_template, template
from tests.store.records import HOSPITAL, Faulty, a_record, an_opening

__all__ = ["store_template", "template"]

pytestmark = pytest.mark.anyio

REACH = 0.2
GIVE_UP_SECONDS = 60.0
"""So that a test which would wait for ever fails."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Worker:
    """What of a worker keeps decisions."""

    def __init__(self, var: Path, journal: Path) -> None:
        self.database = Faulty(f"sqlite+aiosqlite:///{var / 'surgate.db'}")
        self.breaker = Breaker(self.database, REACH)
        self.journal = Journal(journal)
        self.ledger = Ledger(self.database, self.journal, self.breaker)
        self.drain = Drain(self.journal, self.database, self.breaker)

    async def start(self) -> None:
        await self.journal.open()
        self.ledger.start()

    async def stop(self) -> None:
        self.database.failing = False
        self.database.go_on()
        await self.ledger.stop()
        await self.drain.stop()
        await self.breaker.stop()
        await self.journal.close()
        await self.database.close()

    async def record(self, *records: Record) -> list[Earlier | None]:
        return list(await asyncio.gather(*map(self.ledger.record, records)))

    async def before(self, record: Record) -> Before:
        return await self.ledger.before(record.key, record.case_id)

    async def back(self) -> None:
        """The database answers again, and the worker has noticed."""
        self.database.failing = False
        self.database.go_on()
        await _until(lambda: self.breaker.closed)

    async def rows(self, column: str = "id", table: str = "decisions") -> list[Any]:
        asked = tables.metadata.tables[table]
        async with self.database.read() as connection:
            return list((await connection.execute(select(asked.c[column]).order_by(asked.c.seq))).scalars())


@pytest.fixture
async def worker(store_template: Path, tmp_path: Path) -> AsyncIterator[Worker]:
    shutil.copytree(store_template.parent, tmp_path, dirs_exist_ok=True)
    made = Worker(tmp_path, tmp_path / "journal")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def sibling(worker: Worker, tmp_path: Path) -> AsyncIterator[Worker]:
    """Another worker of the same node."""
    made = Worker(tmp_path, tmp_path / "journal")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def elsewhere(worker: Worker, tmp_path: Path) -> AsyncIterator[Worker]:
    """A worker of another node."""
    made = Worker(tmp_path, tmp_path / "journal-of-another-node")
    await made.start()
    yield made
    await made.stop()


async def test_with_its_database_nothing_goes_to_the_journal(worker: Worker) -> None:
    assert await worker.record(a_record("R1"), a_record("R2")) == [None, None]
    assert not await worker.journal.holds()
    assert sorted(await worker.rows()) == ["d-R1", "d-R2"]


@pytest.mark.parametrize("fault", ["fails", "hangs", "loses its answers"])
async def test_each_decision_is_in_the_record_once_when_it_is_back(worker: Worker, fault: str) -> None:
    worker.database.failing = fault == "fails"
    worker.database.commits_hang = fault == "loses its answers"
    if fault != "fails":
        worker.database.hang()
    records = [a_record(f"R{number}") for number in range(5)]
    records[2] = records[2]._replace(opening=an_opening("R2"))
    for record in records:
        assert await worker.record(record) == [None]
    assert await worker.journal.holds()
    worker.database.commits_hang = False
    await worker.back()
    await worker.drain.run()
    assert not await worker.journal.holds()
    ids = [record.id for record in records]
    assert await worker.rows() == ids
    assert refused_files(worker.journal.folder) == []
    assert [ref for ref in await _chained(worker) if ref in ids] == ids
    assert await worker.rows("override_id", "outbox") == ["o-R2"]
    assert (await worker.rows("override_id", "override_steps")).count("o-R2") == 1
    assert await worker.record(a_record("R9")) == [None]
    assert not await worker.journal.holds()
    assert len(await worker.rows()) == 6


async def test_an_outage_costs_one_time_out(worker: Worker) -> None:
    worker.database.hang()
    await worker.record(a_record("R0"))
    asked = worker.database.asked
    worker.breaker._probing.cancel()  # type: ignore[union-attr]
    for number in range(1, 20):
        await worker.before(a_record(f"R{number}"))
        await worker.record(a_record(f"R{number}"))
    assert worker.database.asked == asked


async def test_what_waits_goes_first(worker: Worker) -> None:
    worker.database.failing = True
    await worker.record(a_record("R1"))
    await worker.back()
    await worker.record(a_record("R2"))
    assert worker.journal.waiting == 2
    assert await worker.rows() == []
    await worker.drain.run()
    await worker.record(a_record("R3"))
    assert await worker.rows() == ["d-R1", "d-R2", "d-R3"]


async def test_a_retry_gets_its_first_answer_and_a_case_its_history_whoever_is_asked(worker: Worker, sibling: Worker) -> None:
    committed, journaled = a_record("R1", case_id="C"), a_record("R2", case_id="C", new_case=False)
    await worker.record(committed)
    for one in (worker, sibling):
        one.database.failing = True
    await worker.record(journaled)
    for one in (sibling, worker):
        for record in (committed, journaled):
            before = await one.before(record)
            assert before.earlier == Earlier(record.content, record.answer)
            assert not before.complete
            assert before.history is not None
            assert before.history.decisions == (committed.past, journaled.past)
        assert await one.record(a_record("R2", id="again", content=b"other")) == [Earlier(journaled.content, journaled.answer)]
    with pytest.raises(CaseTaken):
        await sibling.record(a_record("R3", case_id="C", patient_id="P-2"))
    await worker.back()
    await sibling.back()
    before = await sibling.before(journaled)
    assert before.complete
    assert before.history is not None
    assert before.history.decisions == (committed.past, journaled.past)
    await worker.drain.run()
    before = await sibling.before(journaled)
    assert before.earlier == Earlier(journaled.content, journaled.answer)
    assert before.history is not None
    assert before.history.decisions == (committed.past, journaled.past)


async def test_what_was_drained_is_known_in_the_next_outage(worker: Worker, sibling: Worker) -> None:
    worker.database.failing = True
    await worker.record(a_record("R1"))
    await worker.back()
    await worker.drain.run()
    for one in (sibling, worker):
        one.database.failing = True
        assert (await one.before(a_record("R1"))).earlier == Earlier(a_record("R1").content, a_record("R1").answer)


async def test_a_transaction_that_was_given_up_leaves_nothing(worker: Worker, sibling: Worker) -> None:
    """It hangs, another worker's decision is answered meanwhile, and it goes on before its commit."""
    worker.database.hang()
    lost = asyncio.create_task(worker.ledger.record(a_record("R1", id="d-lost")))
    sibling.database.failing = True
    await sibling.record(a_record("R1"))
    assert await lost == Earlier(a_record("R1").content, a_record("R1").answer)
    await worker.back()
    await _until(lambda: not worker.breaker._pending)
    assert await worker.rows() == []
    await worker.drain.run()
    assert await worker.rows() == ["d-R1"]
    assert await worker.rows("repeats") == [None]


async def test_what_was_begun_on_a_lane_ends_before_it_is_closed(worker: Worker) -> None:
    async def count(database: Database) -> int:
        async with database.read() as connection:
            return len((await connection.execute(select(tables.decisions.c.id))).all())

    lane = Lane(worker.database, "test", writes=False)
    lane.start()
    worker.database.hang()
    asked = asyncio.create_task(lane.run(count))
    await _until(lambda: worker.database.asked > 0)
    stopping = asyncio.create_task(lane.stop())
    await asyncio.sleep(0.05)
    worker.database.go_on()
    async with asyncio.timeout(GIVE_UP_SECONDS):
        assert await asked == 0
        await stopping
    assert not [one for one in gc.get_objects() if isinstance(one, _AtOnce) and one._connection is not None]


async def test_a_case_that_nobody_here_knows_has_no_history(worker: Worker) -> None:
    worker.database.failing = True
    assert await worker.before(a_record("R1")) == Before(None, None, complete=False)


async def test_what_was_decided_on_two_nodes_is_kept_twice_and_the_first_counts(worker: Worker, elsewhere: Worker) -> None:
    worker.database.failing = True
    here, there = a_record("R1", opening=an_opening("R1")), a_record("R1", id="d-there", answer=b"there")
    await worker.record(here)
    await elsewhere.record(there)
    await worker.back()
    await worker.drain.run()
    assert await worker.rows() == ["d-there", "d-R1"]
    assert await worker.rows("repeats") == [None, "d-there"]
    assert (await worker.before(here)).earlier == Earlier(there.content, there.answer)
    assert await worker.rows("override_id", "outbox") == ["o-R1"]


async def test_of_two_workers_the_one_that_answered_counts(worker: Worker, sibling: Worker) -> None:
    """One worker's commit arrives although it seemed lost, and another one's decision was answered under the same request meanwhile."""
    worker.database.failing = True
    answered = a_record("R1")
    await worker.record(answered)
    lost = a_record("R1", id="d-lost", answer=b"lost")
    async with sibling.database.write(None) as connection:
        await decisions_module._write(connection, [lost])
    assert await sibling.journal.append([lost], doubtful=True) == {"d-lost": Earlier(answered.content, answered.answer)}
    await worker.back()
    await worker.drain.run()
    assert await worker.rows() == ["d-lost", "d-R1"]
    assert await worker.rows("repeats") == [None, "d-R1"]
    for one in (worker, sibling):
        assert (await one.before(answered)).earlier == Earlier(answered.content, answered.answer)
    assert await sibling.record(a_record("R1", id="d-third")) == [Earlier(answered.content, answered.answer)]


async def test_what_the_database_refuses_is_set_aside_and_the_rest_goes_on(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    worker.database.failing = True
    poison = a_record("R2")
    poison = poison._replace(key=poison.key._replace(hospital="no such hospital"))
    await worker.record(a_record("R1"), poison, a_record("R3"))
    await worker.back()
    await worker.drain.run()
    assert sorted(await worker.rows()) == ["d-R1", "d-R3"]
    assert [path.name for path in refused_files(worker.journal.folder)] == ["d-R2.record"]
    assert any(record.levelno == logging.CRITICAL and "d-R2" in record.getMessage() for record in caplog.records)
    assert not await worker.journal.holds()
    assert await worker.drain.retry_refused() == 0
    async with worker.database.write(None) as connection:
        await connection.execute(tables.hospitals.insert().values(code="no such hospital", name="", time_zone="UTC", settings=b"{}"))
    assert await worker.drain.retry_refused() == 1
    assert sorted(await worker.rows()) == ["d-R1", "d-R2", "d-R3"]
    assert refused_files(worker.journal.folder) == []


async def test_what_nobody_can_read_is_set_aside_and_the_rest_goes_on(worker: Worker) -> None:
    worker.database.failing = True
    await worker.record(a_record("R1"))
    await worker.record(a_record("R2"))
    file = JournalFile.open(next(iter(segments(worker.journal.folder).values())))
    first, second = file.frames()
    file.write(first.begin + 20, b"\xff")
    file.write(second.end, framed(Kind.RECORD, b"of another program"))
    file.close()
    await worker.record(a_record("R3"))
    await worker.back()
    await worker.drain.run()
    assert await worker.rows() == ["d-R2", "d-R3"]
    assert sorted(path.suffix for path in refused_files(worker.journal.folder)) == [".damaged", ".unreadable"]


async def test_a_drain_that_ends_anywhere_is_done_again_and_nothing_is_twice(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.database.failing = True
    await worker.record(*(a_record(f"R{number}") for number in range(10)))
    await worker.back()

    def broken() -> None:
        raise OSError("killed here")

    with monkeypatch.context() as patched:
        patched.setattr(worker.journal, "seal", broken)
        with pytest.raises(OSError, match="killed here"):
            await worker.drain.run()
    assert len(await worker.rows()) == 10
    await worker.drain.run()
    assert len(await worker.rows()) == 10
    assert refused_files(worker.journal.folder) == []
    assert not await worker.journal.holds()


async def test_it_drains_by_itself_while_both_workers_are_busy(worker: Worker, sibling: Worker) -> None:
    for one in (worker, sibling):
        one.drain.start()
        one.database.failing = True
    await worker.record(*(a_record(f"A{number}") for number in range(600)))
    answered = 600
    stop = asyncio.Event()

    async def keep_busy(one: Worker, name: str) -> int:
        count = 0
        while not stop.is_set():
            await one.record(a_record(f"{name}{count}"), a_record(f"{name}{count}-2"))
            count += 1
        return 2 * count

    busy = [asyncio.create_task(keep_busy(one, name)) for one, name in ((worker, "B"), (sibling, "C"))]
    await asyncio.sleep(0.3)
    await worker.back()
    await sibling.back()
    await _until(lambda: worker.journal.waiting + sibling.journal.waiting == 0)
    await asyncio.sleep(0.2)
    stop.set()
    answered += sum(await asyncio.gather(*busy))
    await _until(lambda: worker.journal.waiting + sibling.journal.waiting == 0)
    ids = await worker.rows()
    assert len(ids) == len(set(ids)) == answered
    assert len(segments(worker.journal.folder)) == 1


async def test_a_database_that_can_be_read_and_commits_nothing_holds_nobody_up(worker: Worker) -> None:
    """As PostgreSQL whose synchronous standby is away. The drain hangs, and not with the lock of who appends."""
    worker.database.failing = True
    await worker.record(a_record("R1"))
    await worker.back()
    worker.database.commits_hang = True
    worker.database.hang()
    asked = worker.database.asked
    draining = asyncio.create_task(worker.drain.run())
    await _until(lambda: worker.database.asked > asked)
    async with asyncio.timeout(REST_SECONDS / 2):
        await worker.record(a_record("R2"))
    assert not draining.done()
    worker.database.commits_hang = False
    worker.database.go_on()
    await draining
    assert await worker.rows() == ["d-R1", "d-R2"]
    assert not await worker.journal.holds()


async def test_a_transaction_of_which_nothing_comes_back_is_given_up_and_its_decisions_come_once(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a connection that a network forgot: nobody else drains meanwhile, so that it must not be waited for without end."""
    worker.database.failing = True
    await worker.record(a_record("R1"))
    await worker.back()
    worker.database.commits_hang = True
    worker.database.hang()
    monkeypatch.setattr(journal_drain, "WRITE_SECONDS", REACH)
    draining = asyncio.create_task(worker.drain.run())
    await asyncio.wait({draining}, timeout=GIVE_UP_SECONDS / 2)
    assert draining.done()
    assert isinstance(draining.exception(), TimeoutError)
    worker.database.commits_hang = False
    worker.database.go_on()
    await worker.drain.run()
    assert await worker.rows() == ["d-R1"]
    assert not await worker.journal.holds()


async def test_one_worker_drains_at_a_time(worker: Worker, sibling: Worker) -> None:
    assert sibling.drain._duty.acquire(0)
    with pytest.raises(Busy):
        await worker.drain.run()
    sibling.drain._duty.release()
    await worker.drain.run()


async def test_where_nothing_can_be_written_nobody_is_answered(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.database.failing = True

    def broken(*_: object) -> None:
        raise OSError("no disk")

    monkeypatch.setattr(JournalFile, "write", broken)
    with pytest.raises(NotRecorded):
        await worker.record(a_record("R1"))


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what is waited for has no event to tell of it
        await asyncio.sleep(0.02)


async def _chained(worker: Worker) -> list[str]:
    log = tables.chain
    async with worker.database.read() as connection:
        return list((await connection.execute(select(log.c.ref).where(log.c.hospital == HOSPITAL).order_by(log.c.number))).scalars())

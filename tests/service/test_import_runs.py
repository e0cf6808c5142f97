"""Imports against the store itself: what the engine then sees, exports into an empty store, imports that meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.imports import run as running
from app.imports.content import read_table
from app.imports.current import read_current
from app.imports.diff import Diff
from app.imports.exports import Format, export
from app.imports.formats import unpacked
from app.imports.pack import import_pack
from app.imports.plan import make_plan, needed_tables
from app.imports.run import Job, run
from app.imports.steps import Mode
from app.packs.load import load_pack
from app.settings import Settings
from app.store import changes, hospitals, tables
from app.store.database import Database
from app.store.migrate import migrate
from tests.service.conftest import PACK

pytestmark = pytest.mark.anyio

GRANTS = "staff,scope_type,scope,department,role,valid_from,valid_to\n100302,code,35.71001,小儿外科,,2026-01-0{},\n"


GIVE_UP_SECONDS = 60.0
"""So that a test which would wait for ever fails."""


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    made = Database(settings.database)
    yield made
    await made.close()


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}")
    await migrate(made)
    yield made
    await made.close()


async def _exported(database: Database, form: Format = Format.CSV) -> bytes:
    async with database.read() as connection:
        current = await read_current(connection, "wahh", needed_tables("pack"))
    return export("pack", current, form).data


async def _changes(database: Database) -> int:
    async with database.read() as connection:
        count: int = (await connection.execute(select(func.count()).select_from(tables.changes))).scalar_one()
    return count


async def test_an_imported_pack_is_what_the_engine_sees(database: Database) -> None:
    pack = load_pack(PACK)
    async with database.read() as connection:
        loaded = await hospitals.load(connection, "wahh")
    assert loaded is not None
    assert loaded.itself.hospital == pack.hospital
    assert loaded.people.keys() == {person.staff.staff for person in pack.people}
    for person in pack.people:
        held = loaded.people[person.staff.staff]
        assert held.staff == person.staff
        for name in ("grants", "credentials", "volumes"):
            assert sorted(getattr(held, name), key=str) == sorted(getattr(person, name), key=str)


@pytest.mark.parametrize("form", Format)
async def test_an_export_makes_the_same_hospital_in_an_empty_store(database: Database, empty: Database, form: Format) -> None:
    with unpacked(await _exported(database, form)) as folder:
        made = await import_pack(empty, folder)
    assert (made.made, made.applied) == (True, True)
    assert await _exported(empty) == await _exported(database)


async def test_importing_twice_changes_nothing_the_second_time(database: Database) -> None:
    before = await _changes(database)
    again = await import_pack(database, PACK, mode=Mode.REPLACE)
    assert not again.made
    assert {action for action, count in again.counts.items() if count} == {"unchanged"}
    assert await _changes(database) == before


async def test_who_is_told_that_nothing_changes_may_rely_on_it(database: Database) -> None:
    """Whoever imported it before was not answered, since their worker died, and sends it again while another worker has not followed yet."""
    async with database.write(None) as connection:
        await changes.acknowledge(connection, "late", await changes.latest(connection), 600.0)

    def imported() -> asyncio.Task[Diff]:
        data = GRANTS.format(1).encode()
        return asyncio.create_task(run(database, Job("wahh", "grants", "test"), lambda current: read_table("grants", data, current)))

    before = await _changes(database)
    first = imported()
    async with asyncio.timeout(GIVE_UP_SECONDS):
        while await _changes(database) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    first.cancel()
    again = imported()
    assert not (await asyncio.wait({again}, timeout=1.0))[0]
    async with database.write(None) as connection:
        await changes.acknowledge(connection, "late", await changes.latest(connection), 600.0)
    async with asyncio.timeout(GIVE_UP_SECONDS):
        assert (await again).counts.unchanged == 1


async def test_an_import_that_fails_in_the_middle_leaves_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> int:
        raise RuntimeError("the log cannot be written")

    before = await _exported(database)
    monkeypatch.setattr(changes, "append", fail)
    with pytest.raises(RuntimeError):
        await run(database, Job("wahh", "grants", "test"), lambda current: read_table("grants", GRANTS.format(1).encode(), current))
    assert await _exported(database) == before


async def test_imports_that_meet_all_count(database: Database) -> None:
    """Each is planned against what the others left."""

    def job(day: int) -> asyncio.Future[object]:
        data = GRANTS.format(day).encode()
        return asyncio.ensure_future(run(database, Job("wahh", "grants", "test"), lambda current: read_table("grants", data, current)))

    before = await _changes(database)
    await asyncio.gather(*(job(day) for day in (1, 2, 3)))
    assert await _changes(database) == before + 3
    exported = await _exported(database, Format.CSV)
    with unpacked(exported) as folder:
        text = (folder / "grants.csv").read_text()
    assert all(f"35.71001,小儿外科,operator,2026-01-0{day}" in text for day in (1, 2, 3))


async def test_a_change_during_an_import_is_planned_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suspension that came in after the file was held against the hospital is not overwritten."""
    file = GRANTS.format(1).replace("valid_to", "document_no").encode()[:-1] + "新\n".encode()
    await run(database, Job("wahh", "grants", "test"), lambda current: read_table("grants", GRANTS.format(1).encode(), current))
    plans = []

    def planned(*arguments: object) -> object:
        plans.append(make_plan(*arguments))  # type: ignore[arg-type]
        if len(plans) == 1:
            asyncio.run_coroutine_threadsafe(_suspend(database), loop).result()
        return plans[-1]

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(running, "make_plan", planned)
    await run(database, Job("wahh", "grants", "test"), lambda current: read_table("grants", file, current))
    assert len(plans) == 2
    async with database.read() as connection:
        row = (await connection.execute(select(tables.grants).where(tables.grants.c.document_no == "新"))).mappings().one()
    assert (row["state"], row["state_by_hand"]) == ("suspended", True)


async def _suspend(database: Database) -> None:
    grants = tables.grants
    mine = (grants.c.staff == "100302") & (grants.c.department == "小儿外科") & (grants.c.scope == "35.71001")
    async with database.write(None) as connection:
        await connection.execute(grants.update().where(mine).values(state="suspended", state_by_hand=True))
        await changes.append(connection, changes.Change("wahh", "test", "grant", "G", "suspend"), datetime.now(UTC))

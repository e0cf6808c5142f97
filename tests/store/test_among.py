"""Conditions on many values at once, in either database."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from app.main import Gateway
from app.store import decisions, tables
from app.store.among import Among
from tests.service.conftest import anyio_backend, client, gateway, keys_fixture, settings, shared, store, store_template, template
from tests.store.records import a_record

__all__ = ["anyio_backend", "client", "gateway", "keys_fixture", "settings", "shared", "store", "store_template", "template"]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("values", "found"),
    [([], []), ([("wahh", "100234")], ["100234"]), ([("wahh", "100234"), ("wahh", "100007"), ("other", "100302")], ["100007", "100234"])],
)
async def test_rows_are_found_by_any_number_of_values(gateway: Gateway, values: list[tuple[str, str]], found: list[str]) -> None:
    table = tables.staff
    asked = Among((table.c.hospital, table.c.staff), select(table.c.staff), order=table.c.staff)
    async with gateway.database.read() as connection:
        for _ in range(2):  # what was built is asked again
            assert list((await asked.ask(connection, values)).scalars()) == found


async def test_requests_are_found_by_their_index_in_a_table_that_was_never_analysed(gateway: Gateway) -> None:
    if gateway.database.embedded:
        pytest.skip("SQLite has its index named by the statement's form alone")
    async with gateway.database.write(None) as connection:
        await decisions._write(connection, [a_record(f"R{number}") for number in range(2000)])
    async with gateway.database.read() as connection:
        assert (await connection.execute(text("SHOW plan_cache_mode"))).scalar() == "force_custom_plan"
        keys = [a_record(f"R{number}").key for number in range(64)]
        assert len((await decisions._EARLIER.ask(connection, keys)).all()) == 64
        asked = decisions._EARLIER._of_arrays().params({f"among{place}": [key[place] for key in keys] for place in range(3)})
        statement = asked.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        plan = (await connection.execute(text(f"EXPLAIN {statement}".replace(":", "\\:")))).scalars().all()
    full = [line for line in plan if "decisions_2026_11" in line]
    assert full
    assert all("request" in line for line in full), "\n".join(plan)

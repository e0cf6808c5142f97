"""Conditions on many values at once, in either database."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.main import Gateway
from app.store import tables
from app.store.among import Among
from tests.service.conftest import anyio_backend, client, gateway, keys_fixture, settings, shared, store, store_template, template

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

"""A record of every kind, made once by a gateway that was started and stopped, and copied for each test."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from sqlalchemy import select

from app.audit.findings import Verification
from app.audit.seal import instant
from app.audit.store import Proven, open_store
from app.audit.verify import Outside, verify
from app.main import Gateway
from app.settings import Settings
from app.store import chain, overrides, tables
from app.store.database import Head
from tests.embedded import keys_fixture
from tests.service.conftest import Template, anyio_backend, bearer, store_template, template
from tests.service.orders import EXPIRED, order

HOSPITAL = "wahh"
DECLARATION = {
    "lifesaving": True,
    "no_privileged_operator": True,
    "reason_code": "tamponade",
    "reason": "心包填塞，血压测不出",
    "declared_by": EXPIRED,
    "reported_to": "900001",
    "reported_at": "2026-01-01T00:00:00+00:00",
}

__all__ = ["anyio_backend", "keys_fixture", "store_template", "template"]


class Entry(NamedTuple):
    """A row of the chain."""

    number: int
    kind: str
    ref: str


class Kept:
    """A folder with a store, its seals and its key, and what a test does to it."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.store = var / "surgate.db"
        self.seals = var / "seals"
        self.settings = Settings(var_dir=var)

    def open(self) -> Proven:
        return open_store(self.settings)

    @contextmanager
    def tampering(self) -> Iterator[sqlite3.Connection]:
        """The database as somebody has it who can write to its file. Nothing holds him to its constraints."""
        connection = sqlite3.connect(self.store)
        try:
            yield connection
            connection.commit()
        finally:
            connection.close()

    def run(self, statement: str, *values: object) -> None:
        with self.tampering() as connection:
            assert connection.execute(statement, values).rowcount > 0, "nothing was tampered with"

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.tampering() as connection:
            return connection.execute(query, values).fetchall()

    def entries(self, kind: str | None = None) -> list[Entry]:
        rows = self.rows("SELECT number, kind, ref FROM chain WHERE hospital = ? ORDER BY number", HOSPITAL)
        return [Entry(*row) for row in rows if kind is None or row[1] == kind]

    def rewrite(self, first: int) -> None:
        """Make digests and hashes fit again from an entry on, as somebody does who knows the format but does not have the key."""
        with self.tampering() as connection:
            found = connection.execute("SELECT hash FROM chain WHERE number = ?", (first - 1,)).fetchone()
            before = chain.GENESIS if found is None else found[0]
            for number, kind, ref, instant, digest in connection.execute(
                "SELECT number, kind, ref, at, digest FROM chain WHERE number >= ? ORDER BY number", (first,)
            ).fetchall():
                table = chain.KINDS[kind]
                rows = connection.execute(f"SELECT * FROM {table.name} WHERE {'id' if kind == 'decision' else 'seq'} = ?", (ref,))
                row = rows.fetchone()
                if row is not None:
                    named = dict(zip([column[0] for column in rows.description], row, strict=True))
                    terms = connection.execute("SELECT kind, value FROM decision_terms WHERE decision_id = ?", (ref,)).fetchall()
                    digest = chain.digest_of(chain.form_of(table, named, terms if kind == "decision" else None))
                before = chain.hash_of(before, HOSPITAL, number, kind, ref, instant, digest)
                connection.execute("UPDATE chain SET digest = ?, hash = ? WHERE number = ?", (digest, before, number))

    def age(self, days: int, sealed: Sequence[int]) -> None:
        """Make the whole record older, as if the gateway had kept it then, with seals at some numbers and at its end."""
        shift = f"strftime('%Y-%m-%dT%H:%M:%S.000000+00:00', {{}}, '-{days} days')"
        columns = {
            "decisions": "at",
            "decision_terms": "at",
            "changes": "at",
            "reads": "at",
            "override_steps": "recorded_at",
            "chain": "at",
        }
        for table, column in columns.items():
            self.run(f"UPDATE {table} SET {column} = {shift.format(column)}")
        self.run("UPDATE override_steps SET at = recorded_at")
        self.run("UPDATE overrides SET at = (SELECT at FROM override_steps WHERE override_id = overrides.id ORDER BY seq LIMIT 1)")
        self.rewrite(1)
        shutil.rmtree(self.seals)
        self.run("DELETE FROM seals")
        asyncio.run(self._seal([*sealed, self.entries()[-1].number]))

    async def _seal(self, numbers: Sequence[int]) -> None:
        heads = self.open().heads
        for number in numbers:
            hash_ = self.rows("SELECT hash FROM chain WHERE number = ?", number)[0][0]
            heads.write(Head(HOSPITAL, number, hash_, number, hash_))
            seal = heads.read(HOSPITAL)
            assert seal is not None
            assert heads.log_seal(seal)
            values = (HOSPITAL, number, hash_, seal.at, seal.key, bytes.fromhex(seal.signature))
            self.run("INSERT INTO seals (hospital, number, hash, at, key, signature) VALUES (?, ?, ?, ?, ?, ?)", *values)

    def close_reviews(self) -> None:
        """Every review ends, as if by the office."""
        asyncio.run(self._close_reviews())

    async def _close_reviews(self) -> None:
        store = self.open()
        async with store.database.write(None) as connection:
            for (id_,) in self.rows("SELECT id FROM overrides ORDER BY id"):
                for action, state in (("begin_review", "under_review"), ("justify", "justified")):
                    await overrides.add_step(connection, HOSPITAL, overrides.Step(id_, action, state, "900001", instant(), instant()))
            await connection.execute(tables.overrides.update().values(state="justified"))
        await store.database.close()

    def verify(self, *trusted: str) -> Verification:
        return asyncio.run(self._verify(trusted))

    async def _verify(self, trusted: tuple[str, ...]) -> Verification:
        store = self.open()
        try:
            return await verify(store.database, Outside(store.heads, self.settings.archives_folder, trusted), HOSPITAL)
        finally:
            await store.database.close()


@pytest.fixture(scope="session")
def recorded(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a record of decisions, an override with a report, changes and reads, sealed twice."""
    var = tmp_path_factory.mktemp("recorded")
    shutil.copyfile(template.path, var / "surgate.db")
    asyncio.run(_record(var, template.keys))
    return var


@pytest.fixture
def kept(recorded: Path, tmp_path: Path) -> Kept:
    var = tmp_path / "var"
    shutil.copytree(recorded, var)
    return Kept(var)


async def _record(var: Path, keys: dict[str, str]) -> None:
    gateway = Gateway(Settings(var_dir=var))
    transport = httpx.ASGITransport(app=gateway)
    async with (
        gateway.app.router.lifespan_context(gateway.app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        while await _seals(gateway) == 0:  # noqa: ASYNC110 — the first is made in the background
            await asyncio.sleep(0.01)
        await _half(client, keys)
        await gateway.sealer.seal()
        await _half(client, keys)


async def _seals(gateway: Gateway) -> int:
    async with gateway.database.read() as connection:
        return len((await connection.execute(select(tables.seals))).all())


async def _half(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    for asked in (order(), order(EXPIRED), order(EXPIRED, urgency="emergency", emergency=DECLARATION), order()):
        answered = await client.post("/v1/check", json=asked, headers=bearer(keys["his"]))
        assert answered.status_code == 200, answered.text
    path = f"/v1/decisions/{answered.json()['decision_id']}"
    assert (await client.get(path, headers=bearer(keys["auditor"]))).status_code == 200
    grants = (await client.get("/v1/grants?staff=100007", headers=bearer(keys["medical_affairs"]))).json()["items"]
    for action in ("suspend", "resume"):
        told = {"reason": "复核", "by": "900001"}
        changed = await client.post(f"/v1/grants/{grants[0]['id']}/{action}", json=told, headers=bearer(keys["medical_affairs"]))
        assert changed.status_code == 200, changed.text

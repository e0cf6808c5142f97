"""Keys through the API: made, listed, revoked; nobody but an admin, nothing of another hospital."""

from __future__ import annotations

import http.client
import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from app.main import Gateway
from app.store import changes, tables
from app.store import keys as store
from app.store.keys import Role
from tests.served import CALL_SECONDS, an_order, call, frozen, served
from tests.service.conftest import Template, bearer

CONNECTIONS = 8


@pytest.mark.anyio
async def test_a_key_is_told_once_and_opens_at_once(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    made = await client.post(
        "/v1/keys", json={"roles": ["ops", "auditor"], "client": "grafana", "staff": "100007"}, headers=bearer(keys["admin"])
    )
    assert made.status_code == 201
    text = made.json().pop("key")
    listed = await client.get("/v1/keys", headers=bearer(keys["admin"]))
    mine = next(key for key in listed.json()["items"] if key["id"] == made.json()["id"])
    assert mine | {"created_at": ""} == {
        "id": made.json()["id"],
        "client": "grafana",
        "roles": ["auditor", "ops"],
        "staff": "100007",
        "created_at": "",
        "revoked_at": None,
        "state": "active",
    }
    assert text not in listed.text
    assert (await client.get("/v1/keys", headers=bearer(text))).status_code == 403
    logged = await client.get("/v1/changes?kind=key", headers=bearer(text))
    assert [(c["action"], c["subject"]) for c in logged.json()["items"]] == [("create", mine["id"])]


@pytest.mark.anyio
async def test_a_revoked_key_opens_nothing(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    made = (await client.post("/v1/keys", json={"roles": ["admin"]}, headers=bearer(keys["admin"]))).json()
    assert (await client.get("/v1/keys", headers=bearer(made["key"]))).status_code == 200
    revoked = await client.delete(f"/v1/keys/{made['id']}", headers=bearer(keys["admin"]))
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    assert (await client.get("/v1/keys", headers=bearer(made["key"]))).status_code == 401
    again = await client.delete(f"/v1/keys/{made['id']}", headers=bearer(keys["admin"]))
    assert again.json() == revoked.json()


@pytest.mark.anyio
async def test_pages_hold_every_key_once(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await client.get(f"/v1/keys?limit=4{cursor and f'&cursor={cursor}'}", headers=bearer(keys["admin"]))).json()
        seen += [key["id"] for key in page["items"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen)) == len(keys)


@pytest.mark.anyio
async def test_only_an_admin_and_only_of_its_hospital(client: httpx.AsyncClient, keys: dict[str, str], gateway: Gateway) -> None:
    for role in set(keys) - {"admin"}:
        assert (await client.get("/v1/keys", headers=bearer(keys[role]))).status_code == 403
        assert (await client.post("/v1/keys", json={"roles": ["admin"]}, headers=bearer(keys[role]))).status_code == 403
    async with gateway.database.write(None) as connection:
        row = {"code": "other", "name": "Other", "time_zone": "Asia/Shanghai", "settings": b"{}"}
        await connection.execute(tables.hospitals.insert(), row)
        theirs, text = await store.create(connection, "other", [Role.ADMIN], None, None)
        seq = await changes.append(connection, changes.Change("other", "test", "import", "pack", "install"), datetime.now(UTC))
        seq = await changes.append(connection, store.change_of(theirs, "test", "create"), datetime.now(UTC))
    await changes.in_force(gateway.database, seq)
    assert [key["id"] for key in (await client.get("/v1/keys", headers=bearer(text))).json()["items"]] == [theirs.id]
    assert (await client.delete(f"/v1/keys/{theirs.id}", headers=bearer(keys["admin"]))).status_code == 404


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"roles": []}, "roles"),
        ({"roles": ["root"]}, "roles[0]"),
        ({"roles": ["his"], "staff": "nobody"}, "staff"),
        ({"roles": ["his"], "client": "demo-his"}, "client"),
        ({"roles": ["his"], "client": " "}, "client"),
        ({"roles": ["his"], "role": "x"}, "role"),
    ],
)
async def test_wrong_fields_are_named(client: httpx.AsyncClient, keys: dict[str, str], body: dict[str, object], field: str) -> None:
    refused = await client.post("/v1/keys", json=body, headers=bearer(keys["admin"]))
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [field]


def test_a_revoked_key_fails_on_every_worker_also_on_one_that_was_frozen(template: Template, tmp_path: Path) -> None:
    keys = template.keys
    with served(tmp_path / "var", template.path, workers="2") as service:
        made = [service.call("POST", "/v1/keys", keys["admin"], {"roles": ["his"]}).json for _ in range(2)]
        connections = [service.connect() for _ in range(CONNECTIONS)]
        for number, connection in enumerate(connections):
            assert call(connection, "POST", "/v1/check", made[0]["key"], an_order(f"R-{number}")).status == 200

        service.call("DELETE", f"/v1/keys/{made[0]['id']}", keys["admin"])
        assert {call(connection, "POST", "/v1/check", made[0]["key"], an_order("R")).status for connection in connections} == {401}

        waiting: list[int] = []
        threads = [threading.Thread(target=_check, args=(service.connect(), made[1]["key"], waiting)) for _ in range(CONNECTIONS)]
        with frozen(service.workers()[0], service.store):
            admin = _answering(connections, keys["admin"])
            assert call(admin, "DELETE", f"/v1/keys/{made[1]['id']}", keys["admin"]).status == 200
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join()
        assert waiting == [401] * CONNECTIONS
        for connection in connections:
            connection.close()


def _answering(connections: list[http.client.HTTPConnection], key: str) -> http.client.HTTPConnection:
    """A connection to the worker that still answers."""
    for connection in connections:
        assert connection.sock is not None
        connection.sock.settimeout(1)
        try:
            call(connection, "GET", "/v1/keys", key)
        except TimeoutError:
            connection.close()
            continue
        connection.sock.settimeout(CALL_SECONDS)
        return connection
    raise AssertionError("no connection to the other worker")


def _check(connection: http.client.HTTPConnection, key: str, statuses: list[int]) -> None:
    statuses.append(call(connection, "POST", "/v1/check", key, an_order("R-frozen")).status)
    connection.close()

"""The proof over HTTP: who may ask, what is answered, and that the export is itself recorded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
from openpyxl import load_workbook

from app.audit.findings import TEXTS, Verification
from app.engine.model import Checkpoint
from app.main import Gateway
from app.settings import Settings
from tests.audit.test_files import verified
from tests.service.conftest import bearer, client, gateway, keys_fixture, settings, shared, store
from tests.service.orders import EXPIRED, order

pytestmark = pytest.mark.anyio

__all__ = ["client", "gateway", "keys_fixture", "settings", "shared", "store"]


async def get(client: httpx.AsyncClient, path: str, key: str, status: int = 200, **params: Any) -> httpx.Response:
    answered = await client.get(path, params=params, headers=bearer(key))
    assert answered.status_code == status, answered.text
    return answered


async def check(client: httpx.AsyncClient, keys: dict[str, str], **changed: Any) -> None:
    answered = await client.post("/v1/check", json=order(EXPIRED, **changed), headers=bearer(keys["his"]))
    assert answered.status_code == 200, answered.text


@pytest.mark.parametrize("path", ["/v1/audit/verify", "/v1/audit/export"])
async def test_only_an_auditor_may_ask(client: httpx.AsyncClient, keys: dict[str, str], path: str) -> None:
    for role in ("his", "anesthesia", "medical_affairs", "ops"):
        await get(client, path, keys[role], 403)
    for role in ("auditor", "admin"):
        await get(client, path, keys[role])


async def test_the_report_is_of_its_schema_and_names_the_place(
    client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str], settings: Settings
) -> None:
    for checkpoint in (Checkpoint.ORDER, Checkpoint.NOTICE):
        await check(client, keys, checkpoint=checkpoint)
    whole = (await get(client, "/v1/audit/verify", keys["auditor"])).json()
    assert (whole["whole"], whole["findings"], whole["entries"]) == (True, [], 3)
    async with gateway.database.engine.connect() as connection:
        await connection.exec_driver_sql("UPDATE decisions SET decision = 'allow' WHERE seq = 2")
        await connection.commit()
    broken = (await get(client, "/v1/audit/verify", keys["auditor"])).json()
    (finding,) = broken["findings"]
    assert (finding["what"], finding["place"]["number"], finding["place"]["kind"]) == ("record_changed", 3, "decision")
    assert (finding["message"]["zh"], finding["message"]["en"]) == TEXTS["record_changed"]
    document = gateway.app.openapi()
    schema = document["components"]["schemas"][Verification.__name__]
    jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]}).validate(broken)


async def test_keys_that_are_trusted_are_named(client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    root = (await get(client, "/v1/audit/verify", keys["auditor"])).json()["keys"][0]["key"]
    assert (await get(client, "/v1/audit/verify", keys["auditor"], trust=root)).json()["whole"]
    assert not (await get(client, "/v1/audit/verify", keys["auditor"], trust="0" * 64)).json()["whole"]
    problem = (await get(client, "/v1/audit/verify", keys["auditor"], 422, trust="x")).json()
    assert problem["errors"][0]["field"].startswith("trust")
    await get(client, "/v1/audit/verify", keys["auditor"], 422, trusted=root)


async def test_one_verification_at_a_time(client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str]) -> None:
    async with gateway.verifying.through("wahh"):
        refused = await get(client, "/v1/audit/verify", keys["auditor"], 503)
    assert refused.headers["retry-after"]
    await get(client, "/v1/audit/verify", keys["auditor"])


async def test_the_record_is_streamed_and_its_export_is_recorded(
    client: httpx.AsyncClient, gateway: Gateway, keys: dict[str, str], tmp_path: Path
) -> None:
    await check(client, keys)
    file = tmp_path / "record.jsonl"
    answered = await get(client, "/v1/audit/export", keys["auditor"])
    assert answered.headers["content-type"] == "application/x-ndjson"
    assert answered.headers["content-disposition"] == 'attachment; filename="wahh-record-1-2.jsonl"'
    await asyncio.to_thread(file.write_bytes, answered.content)
    assert verified(file).returncode == 0
    (line,) = [
        json.loads(line) for line in (await get(client, "/v1/audit/export", keys["auditor"])).text.splitlines() if '"kind":"read"' in line
    ]
    assert (line["number"], line["record"]["client"], line["record"]["kind"]) == (3, "auditor", "export")
    assert json.loads(line["record"]["subject"]) == {"format": "jsonl", "first": 1, "last": 2}


async def test_a_workbook_is_streamed(client: httpx.AsyncClient, keys: dict[str, str], tmp_path: Path) -> None:
    await check(client, keys)
    file = tmp_path / "record.xlsx"
    answered = await get(client, "/v1/audit/export", keys["auditor"], format="xlsx", since="2020-01-01")
    await asyncio.to_thread(file.write_bytes, answered.content)
    assert verified(file).returncode == 0
    assert "proof" in load_workbook(file).sheetnames


@pytest.mark.parametrize(
    ("params", "status", "field"),
    [
        ({"format": "csv"}, 422, "format"),
        ({"since": "yesterday"}, 422, "since"),
        ({"form": "xlsx"}, 422, "form"),
        ({"until": "2001-01-01"}, 404, None),
    ],
)
async def test_a_wrong_wish_is_named(
    client: httpx.AsyncClient, keys: dict[str, str], params: dict[str, str], status: int, field: str | None
) -> None:
    problem = (await get(client, "/v1/audit/export", keys["auditor"], status, **params)).json()
    assert [e["field"] for e in problem.get("errors", [])] == ([] if field is None else [field])

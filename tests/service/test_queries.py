"""Query parameters: one that is not known is refused by every route that takes any, so that a misspelt filter never widens a list."""

from __future__ import annotations

import re

import httpx
import pytest

from app.main import Gateway
from tests.service.conftest import bearer

pytestmark = pytest.mark.anyio

IN_PATH = {"kind": "grants", "code": "35.71001", "staff": "100302"}


def _asked(gateway: Gateway) -> list[tuple[str, str]]:
    """Every operation that takes query parameters."""
    return [
        (method.upper(), re.sub(r"\{(\w+)\}", lambda name: IN_PATH[name[1]], path))
        for path, operations in gateway.app.openapi()["paths"].items()
        for method, operation in operations.items()
        if any(parameter["in"] == "query" for parameter in operation.get("parameters", ()))
    ]


async def test_a_parameter_that_is_not_known_is_refused_by_name(gateway: Gateway, client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    asked = _asked(gateway)
    assert {path for _, path in asked} >= {"/v1/grants", "/v1/keys", "/v1/changes", "/v1/exports/grants", "/v1/imports/grants"}
    for method, path in asked:
        headers = bearer(keys["admin"]) | {"content-type": "text/csv"}
        response = await client.request(method, f"{path}?limt=1", headers=headers, content=b"x" if method == "POST" else None)
        assert response.status_code == 422, (path, response.text)
        assert [error["field"] for error in response.json()["errors"]] == ["limt"], path

"""The OpenAPI document: complete, exact, with examples that are real; its page reaches nothing outside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest

from app.api.schemas import OPERATIONS
from app.main import Gateway
from tests.service.conftest import bearer
from tests.service.orders import EXPIRED, PRIVILEGED, order

pytestmark = pytest.mark.anyio

OPEN_OBJECTS = {"Problem", "WrongField"}
"""What may grow: a problem has members of its own kind."""


@pytest.fixture
def document(gateway: Gateway) -> dict[str, Any]:
    return gateway.app.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})


def schema_of(document: dict[str, Any], answered: httpx.Response, method: str, path: str) -> dict[str, Any]:
    """The schema of an answer; a status or media type that is not in the document is a failure."""
    described = document["paths"][path][method]["responses"][str(answered.status_code)]
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rsplit("/", 1)[-1]]
    schema: dict[str, Any] = described["content"][answered.headers["content-type"].split(";")[0]]["schema"]
    return schema


async def test_every_route_is_described_and_nothing_else(document: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(document)} == set(OPERATIONS)


async def test_every_answer_and_body_refuses_unknown_fields(document: dict[str, Any]) -> None:
    loose = {
        name
        for name, schema in document["components"]["schemas"].items()
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False
    }
    assert loose == OPEN_OBJECTS
    assert document["components"]["schemas"]["Order"]["additionalProperties"] is False


async def test_every_reference_leads_somewhere_and_every_operation_needs_a_key(document: dict[str, Any]) -> None:
    text = str(document)
    for kind, name in re.findall(r"#/components/(\w+)/(\w+)", text):
        assert name in document["components"][kind], name
    for method, path, operation in operations(document):
        asks = operation.get("security") == [{"key": []}]
        assert asks != OPERATIONS[method, path].open, path
        assert "401" in operation["responses"] or OPERATIONS[method, path].open
        assert operation["summary"]
        assert "HTTPValidationError" not in str(operation)


async def test_every_example_is_of_its_schema(document: dict[str, Any]) -> None:
    seen = 0
    for method, path, operation in operations(document):
        contents = [r.get("content", {}) for r in operation["responses"].values()]
        for content in (operation.get("requestBody", {}).get("content", {}), *contents):
            for described in content.values():
                for name, example in described.get("examples", {}).items():
                    seen += 1
                    errors = [str(e) for e in validator(document, described["schema"]).iter_errors(example["value"])]
                    assert not errors, (method, path, name, errors[0])
        if not isinstance(OPERATIONS[method, path].answer, tuple) and not path.startswith("/v1/imports"):
            assert any("examples" in c for content in contents for c in content.values()), path
    for response in document["components"]["responses"].values():
        described = response["content"]["application/problem+json"]
        assert validator(document, described["schema"]).is_valid(described["example"])
    assert seen > 30


async def test_what_is_answered_is_of_its_schema(document: dict[str, Any], client: httpx.AsyncClient, keys: dict[str, str]) -> None:
    admin = bearer(keys["admin"])

    async def ask(method: str, path: str, url: str | None = None, status: int = 200, **sent: Any) -> httpx.Response:
        answered = await client.request(method, url or path, **({"headers": admin} | sent))
        assert answered.status_code == status, answered.text
        errors = [str(e) for e in validator(document, schema_of(document, answered, method, path)).iter_errors(answered.json())]
        assert not errors, (path, errors[0])
        return answered

    denied = order(EXPIRED)
    decision = (await ask("post", "/v1/check", json=denied)).json()
    await ask("post", "/v1/check", json=denied | {"urgency": "urgent"}, status=409)
    await ask("post", "/v1/check", json={}, status=422)
    await ask("post", "/v1/check", content=b"{", headers=admin | {"Content-Type": "application/json"}, status=400)
    await ask("post", "/v1/check", content=b"{}", status=415)
    await ask("post", "/v1/check", json={}, headers=bearer(keys["ops"]), status=403)
    await ask("post", "/v1/check", json={}, headers={}, status=401)
    large = b" " * (256 * 1024 + 1)
    await ask("post", "/v1/check", content=large, headers=admin | {"Content-Type": "application/json"}, status=413)
    await ask("post", "/v1/check/batch", json={"checks": [order(), {}, order(EXPIRED)]})
    await ask("post", "/v1/explain", json=denied)
    await ask("get", "/v1/decisions")
    await ask("get", "/v1/decisions", "/v1/decisions?x=1", 422)
    await ask("get", "/v1/decisions/{decision_id}", f"/v1/decisions/{decision['decision_id']}")
    await ask("get", "/v1/decisions/{decision_id}", "/v1/decisions/none", 404)
    await ask("get", "/v1/cases/{case_id}", f"/v1/cases/{decision['case_id']}")
    await ask("get", "/v1/staff/{staff}/privileges", f"/v1/staff/{PRIVILEGED}/privileges")
    await ask("get", "/v1/staff/{staff}/privileges", f"/v1/staff/{EXPIRED}/privileges?code=35.71001")
    await ask("get", "/v1/procedures/{code}/operators", "/v1/procedures/35.71001/operators")
    await ask("get", "/v1/stats")
    await ask("get", "/healthz")
    await ask("get", "/readyz")


async def test_a_message_of_the_schema_is_taken_and_one_that_is_not_is_refused(document: dict[str, Any]) -> None:
    schema = validator(document, {"$ref": "#/components/schemas/Order"})
    assert schema.is_valid(order())
    wrongs: list[dict[str, Any]] = [
        {"extra": 1},
        {"urgency": "soon"},
        {"procedures": []},
        {"request_id": ""},
        {"anesthesia": {"asa": 7}},
    ]
    for wrong in wrongs:
        assert not schema.is_valid(order() | wrong), wrong


async def test_the_page_reaches_nothing_outside(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert re.findall(r"https?://", page.text) == []
    for name in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        asset = await client.get(f"/{name}")
        assert asset.status_code == 200, name
        assert len(asset.content) > 1000
    assert (await client.get("/docs/../main.py")).status_code == 404
    assert (await client.get("/docs/other.js")).status_code == 404
    served = await client.get("/openapi.json")
    assert served.json()["openapi"].startswith("3.1")

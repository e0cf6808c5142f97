"""Record the examples of the OpenAPI document: real requests to a service with the demo hospital, and its real answers.

    python -m tools.record_api_examples

writes app/api/examples.json. Run it when a body or an answer changes its shape; a test holds every example against its schema.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from app.main import Gateway
from app.packs.load import load_pack
from app.settings import Settings
from app.store import changes, hospitals, keys
from app.store.migrate import migrate

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "app" / "api" / "examples.json"
SURGEON, EXPIRED = "100007", "100234"
REVIEWER = "100001"
"""Took no part in the case."""
LONGEST_LIST = 3
"""Items of a list that an example shows."""

_BECAUSE = {"reason": "年度考核未通过，暂停授权", "document_no": "医务〔2026〕118号", "by": "900001"}


async def main() -> None:
    """Serve the demo hospital from a temporary store, ask, write what was asked and answered."""
    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(Settings(var_dir=Path(folder), notify_attempts=1))
        await migrate(gateway.database)
        key = await _install(gateway)
        async with gateway.app.router.lifespan_context(gateway.app):
            transport = httpx.ASGITransport(app=gateway)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost", headers={"Authorization": f"Bearer {key}"}
            ) as client:
                found = await _Recorder(client).record()
    text = json.dumps(found, ensure_ascii=False, indent=1, sort_keys=False)
    TARGET.write_text(text + "\n", encoding="utf-8")


class _Recorder:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._found: dict[str, dict[str, Any]] = {}

    async def record(self) -> dict[str, dict[str, Any]]:
        denied = _order(EXPIRED, "HIS-20261122-000123")
        allowed = _order(SURGEON, "HIS-20261122-000124") | {"case_id": "S2026112200018"}
        overridden = _order(EXPIRED, "HIS-20261122-000125") | {"urgency": "emergency", "emergency": _declaration()}
        decision = await self._post("/v1/check", "denied", denied)
        await self._post("/v1/check", "allowed", allowed)
        opened = await self._post("/v1/check", "overridden", overridden)
        wrong = allowed | {"request_id": "HIS-20261122-000127", "procedures": [{"code": "35.71001+", "operator": SURGEON}]}
        await self._post("/v1/check/batch", "one allowed, one refused", {"checks": [allowed, wrong]})
        await self._post("/v1/explain", "denied", denied)
        await self._get("/v1/decisions", "/v1/decisions?operator=100234&limit=1")
        await self._get("/v1/decisions/{decision_id}", f"/v1/decisions/{decision['decision_id']}")
        await self._get("/v1/cases/{case_id}", f"/v1/cases/{denied['case_id']}")
        await self._review(opened["override"]["id"])
        await self._get(
            "/v1/staff/{staff}/privileges", f"/v1/staff/{EXPIRED}/privileges?code=35.71001&department=胸心外科", "one procedure"
        )
        await self._get("/v1/staff/{staff}/privileges", f"/v1/staff/{SURGEON}/privileges", "all")
        await self._get("/v1/procedures/{code}/operators", "/v1/procedures/35.71001/operators?department=胸心外科&limit=3")
        await self._get("/v1/stats", "/v1/stats")
        await self._notifications()
        await self._get("/healthz", "/healthz")
        await self._get("/readyz", "/readyz")
        await self._get("/v1/audit/verify", "/v1/audit/verify")
        await self._office()
        return self._found

    async def _review(self, override: str) -> None:
        path = "/v1/overrides/{override_id}"
        report = {"by": EXPIRED, "to": "总值班 900001", "note": "电话报告，已联系上级医师"}
        await self._post(f"{path}/report", "answer", report, f"/v1/overrides/{override}/report")
        takeover = {"by": SURGEON, "note": "到场后接续完成"}
        await self._post(f"{path}/takeover", "answer", takeover, f"/v1/overrides/{override}/takeover")
        await self._post(f"{path}/review", "begun", {"by": REVIEWER}, f"/v1/overrides/{override}/review")
        ended = {"by": REVIEWER, "outcome": "justified", "note": "心包填塞属实，十五分钟内无有权限医师可到场，处置得当"}
        await self._post(f"{path}/review", "ended", ended, f"/v1/overrides/{override}/review")
        await self._get(path, f"/v1/overrides/{override}")
        await self._get("/v1/overrides", "/v1/overrides?state=justified")

    async def _notifications(self) -> None:
        path = "/v1/notifications"
        while not (await self._client.get(f"{path}?state=dead")).json()["items"]:  # noqa: ASYNC110 — it is asked as a person would
            await asyncio.sleep(0.1)
        dead = await self._get(path, f"{path}?state=dead")
        answered = await self._client.post(f"{path}/{dead['items'][0]['id']}/retry")
        self._keep(f"post {path}/{{number}}/retry", "answer", {"response": answered.json()})

    async def _office(self) -> None:
        grants = await self._get("/v1/grants", f"/v1/grants?staff={SURGEON}&limit=2")
        first = grants["items"][0]["id"]
        path = "/v1/grants/{grant_id}"
        await self._get(path, f"/v1/grants/{first}")
        for step, more in (
            ("suspend", {}),
            ("resume", {}),
            ("renew", {"valid_to": "2028-11-30", "last_evaluated": "2026-11-20"}),
            ("revoke", {}),
        ):
            await self._post(f"{path}/{step}", "answer", _BECAUSE | more, f"/v1/grants/{first}/{step}")
        new = {"staff": EXPIRED, "scope_type": "code", "scope": "35.71001", "department": "胸心外科", "valid_from": "2026-11-23"}
        await self._post("/v1/grants", "answer", new | {"valid_to": "2028-11-22"} | _BECAUSE | {"reason": "再授权评审通过"})
        for step in ("suspend", "resume"):
            await self._post(f"/v1/staff/{{staff}}/{step}", "answer", _BECAUSE, f"/v1/staff/{SURGEON}/{step}")
        for step in ("stop", "resume"):
            await self._post(f"/v1/technologies/{{technology}}/{step}", "answer", _BECAUSE, f"/v1/technologies/WAHH-M01/{step}")
        await self._get("/v1/changes", "/v1/changes?limit=2")
        made = await self._post("/v1/keys", "answer", {"roles": ["his"], "client": "HIS"})
        self._found["post /v1/keys"]["answer"]["response"]["key"] = "sg_1f2e3d4c5b6a_…"
        await self._get("/v1/keys", "/v1/keys?limit=2")
        answered = await self._client.delete(f"/v1/keys/{made['id']}")
        self._keep("delete /v1/keys/{key_id}", "answer", {"response": answered.json()})
        rows = "手术编码,国家编码\n35.7100199,35.7100x001\n".encode()
        answered = await self._client.post(
            f"/v1/imports/aliases?dry_run=true&by={SURGEON}", content=rows, headers={"Content-Type": "text/csv"}
        )
        if answered.status_code == 200:
            self._keep("post /v1/imports/{kind}", "a dry run", {"response": answered.json()})

    async def _post(self, operation: str, name: str, body: Any, path: str | None = None) -> Any:
        answered = await self._client.post(path or operation, json=body)
        assert answered.status_code in (200, 201), (operation, answered.text)
        self._keep(f"post {operation}", name, {"request": body, "response": answered.json()})
        return answered.json()

    async def _get(self, operation: str, path: str, name: str = "answer") -> Any:
        answered = await self._client.get(path)
        assert answered.status_code == 200, (operation, answered.text)
        self._keep(f"get {operation}", name, {"response": answered.json()})
        return answered.json()

    def _keep(self, operation: str, name: str, example: dict[str, Any]) -> None:
        shown = {"response": _short(example["response"])}
        self._found.setdefault(operation, {})[name] = ({"request": example["request"]} if "request" in example else {}) | shown


def _short(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with its long lists cut: an example shows how it looks."""
    cut = {"items", "privileges", "trace", "surgeons", "rows"}
    return {name: value[:LONGEST_LIST] if name in cut else value for name, value in answer.items()}


def _order(operator: str, request_id: str) -> dict[str, Any]:
    order: dict[str, Any] = json.loads((ROOT / "docs" / "example-order.json").read_text(encoding="utf-8"))
    order["procedures"][0]["operator"] = order["requester"] = operator
    return order | {"request_id": request_id}


def _declaration() -> dict[str, Any]:
    return {
        "lifesaving": True,
        "no_privileged_operator": True,
        "reason_code": "tamponade",
        "reason": "心包填塞，血压测不出，院内无其他可到场的有权限医师",
        "declared_by": EXPIRED,
        "reported_to": None,
        "reported_at": None,
        "declared_at": None,
    }


async def _install(gateway: Gateway) -> str:
    pack = load_pack(ROOT / "packs" / "wahh")
    hospital = pack.hospital
    stored = hospitals.Settings(
        department_aliases=dict(hospital.department_aliases),
        policy=hospital.policy,
        paediatric=hospital.paediatric,
        office_hours=hospital.office_hours,
        notify=({"kind": "webhook", "url": "http://127.0.0.1:9/nobody-listens", "when": "always"},),
    )
    async with gateway.database.write() as connection:
        await hospitals.install(connection, hospital, pack.people, stored, pack.province)
        await changes.append(connection, changes.Change(hospital.code, "cli", "import", "pack", "install"), datetime.now(UTC))
        _, text = await keys.create(connection, hospital.code, [keys.Role.ADMIN], "HIS", None)
    return text


if __name__ == "__main__":
    asyncio.run(main())

"""Promises 1 and 4 where PostgreSQL is away and the node's disk runs full: what has room is answered, what has none is refused, emergencies have the last
room, and everything that was answered is in the database afterwards."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import DATABASE, WAIT_SECONDS, Prepared, copied, prepare
from tests.measured import Measured
from tests.served import Reply, Served, an_order

DISK = "56m"
"""The file in use, the next one and the reserve have room; not one more."""

BODY_BYTES = 200_000
EMERGENCIES = 20
MOST_CHECKS = 2_000
"""So that a disk that never gets full ends the test."""

DECLARED = {
    "lifesaving": True,
    "no_privileged_operator": True,
    "reason_code": "airway",
    "reason": "气道梗阻，立即手术",
    "declared_by": "100007",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("prepared") / "hospital")


def _on_a_small_disk(var: Path) -> list[str]:
    """A shell in a mount namespace of its own, where the journal's folder is a disk of that size."""
    mount = f'mount -t tmpfs -o size={DISK},mode=0700 journal "{var}/journal" && exec "$@"'
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]


def _send(gateway: Served, key: str, request_id: str, **changes: Any) -> Reply:
    """A check whose body is mostly blanks, which are kept as they came."""
    body = json.dumps(an_order(request_id, **changes), ensure_ascii=False).encode()
    return gateway.call("POST", "/v1/check", key, body.ljust(BODY_BYTES))


def test_emergencies_are_recorded_when_nothing_else_has_room(prepared: Prepared, tmp_path: Path, measured: Measured) -> None:
    with copied(tmp_path / "postgres", prepared) as database:
        gateway = Served(
            tmp_path / "node",
            database_url=database.url(DATABASE),
            seal_key_file=str(prepared.seal_key),
            reach_seconds="1.0",
            access_log="false",
        )
        (gateway.var / "journal").mkdir(parents=True, mode=0o700)
        gateway.within = _on_a_small_disk(gateway.var)
        gateway.start()
        try:
            database.kill()
            answers: dict[str, Reply] = {}
            for number in range(MOST_CHECKS):
                answers[f"E-{number}"] = reply = _send(gateway, prepared.keys["his"], f"E-{number}")
                if reply.status == 503:
                    break
            assert reply.status == 503, "the disk never ran full"
            assert int(reply.headers["retry-after"]) >= 1
            for number in range(EMERGENCIES):
                sent = _send(gateway, prepared.keys["his"], f"N-{number}", urgency="emergency", emergency=DECLARED)
                answers[f"N-{number}"] = sent
                assert sent.status == 200, sent.body
            assert _send(gateway, prepared.keys["his"], "E-again").status == 503
            database.start()
            ended = time.monotonic()
            while (state := gateway.call("GET", "/readyz").json)["journal"]["waiting"] or state["degraded"]:
                assert time.monotonic() < ended + WAIT_SECONDS, state
                time.sleep(0.05)
            normal = time.monotonic()
            assert _send(gateway, prepared.keys["his"], "E-after").status == 200
        finally:
            gateway.kill()
        answered = {request_id: reply.json["decision_id"] for request_id, reply in answers.items() if reply.status == 200}
        found = database.psql("-c", "SELECT id FROM decisions", database=DATABASE).splitlines()
        lost = [request_id for request_id, id_ in answered.items() if found.count(id_) != 1]
        assert not lost, lost
    measured.add(
        "PostgreSQL killed and the disk of the journal full",
        answered=len(answered),
        degraded=len(answered),
        refused=len(answers) - len(answered),
        unanswered=0,
        normal_after=round(normal - ended, 3),
        recorded=len(found),
        lost=len(lost),
    )

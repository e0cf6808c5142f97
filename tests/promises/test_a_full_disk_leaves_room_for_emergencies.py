"""Promises 1 and 4 where PostgreSQL is away and the node's disk runs full: what has room is answered, what has none is refused, emergencies have the last
room, and everything that was answered is in the database afterwards."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fleet import DATABASE, Answer, Clients, Prepared, copied, prepare
from tests.measured import Measured
from tests.promises.reckoning import MANY, Reckoning
from tests.served import Served, an_order

DISK = "56m"
"""The file in use, the next one and the reserve have room; not one more."""

ELECTIVE_BYTES = 200_000
EMERGENCY_BYTES, EMERGENCIES = 10_000, 40
"""More than the room that an elective check has left, so that the last of them are in the reserve; and a fortieth of the reserve."""

REFUSED = 20
"""Elective checks that are waited for beside the emergencies, when these are in the reserve."""

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


def _elective(request_id: str) -> bytes:
    """A check whose body is mostly blanks, which are kept as they came."""
    return _padded(an_order(request_id), ELECTIVE_BYTES)


def _emergency(request_id: str) -> bytes:
    return _padded(an_order(request_id, urgency="emergency", emergency=DECLARED), EMERGENCY_BYTES)


def _padded(order: dict[str, Any], size: int) -> bytes:
    return json.dumps(order, ensure_ascii=False).encode().ljust(size)


def _without_room(answer: Answer) -> bool:
    return answer.reply is not None and answer.refused and "journal: No space left" in answer.reply.json["detail"]


def test_emergencies_are_recorded_when_nothing_else_has_room(prepared: Prepared, tmp_path: Path, measured: Measured) -> None:
    with copied(tmp_path / "postgres", prepared) as database:
        gateway = Served(
            tmp_path / "node",
            database_url=database.url(DATABASE),
            seal_key_file=str(prepared.seal_key),
            workers="2",
            reach_seconds="1.0",
            access_log="false",
        )
        (gateway.var / "journal").mkdir(parents=True, mode=0o700)
        gateway.within = _on_a_small_disk(gateway.var)
        gateway.start()
        try:
            reckoning = Reckoning([gateway], database)
            with Clients([gateway], prepared.keys["his"], "E", order=_elective) as electives:
                electives.wait_for(MANY)
                reckoning.begin()
                database.kill()
                electives.wait_for(MANY, _without_room)
                with Clients([gateway], prepared.keys["his"], "N", order=_emergency) as emergencies:
                    emergencies.wait_for(EMERGENCIES, lambda _: True)  # refused ones are told below
                    reserved = time.monotonic()
                    electives.wait_for(REFUSED, lambda answer: answer.sent >= reserved and answer.refused)
                    late = [answer for answer in electives.answers if answer.sent >= reserved]
                database.start()
                reckoning.end()
                electives.wait_for(MANY, lambda answer: answer.decided and not answer.degraded)
                reckoning.wait_until_normal()
                electives.wait_for(MANY)
            figures = reckoning.settle(electives.answers + emergencies.answers)
        finally:
            gateway.kill()
    blocked = [answer for answer in emergencies.answers if not answer.decided]
    assert not blocked, blocked[0]
    assert all(answer.refused for answer in late), "an elective check took the room of emergencies"
    refused = [answer.reply for answer in electives.answers if answer.refused and answer.reply is not None]
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
    measured.add("PostgreSQL killed and the disk of the journal full", **figures)

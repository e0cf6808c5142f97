"""Promise 1 where PostgreSQL fails over to a synchronous replica under load: the gateways find the new primary by themselves, and nothing is lost."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.fleet import DATABASE, WAIT_SECONDS, Clients, Prepared, copied, prepare
from tests.measured import Measured
from tests.served import Served
from tests.servers import Postgres, removed

MANY = 40


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("prepared") / "hospital")


def test_nothing_is_lost_when_a_replica_takes_over(prepared: Prepared, tmp_path: Path, measured: Measured) -> None:
    replica = Postgres(tmp_path / "replica")
    with copied(tmp_path / "primary", prepared) as primary, removed(replica):
        replica.follow(primary)
        both = f"host=127.0.0.1:{primary.port}&host=127.0.0.1:{replica.port}&target_session_attrs=read-write"
        gateway = Served(
            tmp_path / "node",
            database_url=f"postgresql+asyncpg://surgate@/{DATABASE}?{both}",
            seal_key_file=str(prepared.seal_key),
            workers="2",
            access_log="false",
            reach_seconds="1.0",
        )
        gateway.start()
        try:
            with Clients([gateway], prepared.keys["his"], "R", each=8) as clients:
                clients.wait_for(MANY)
                began, seen = time.monotonic(), len(clients.answers)
                primary.kill()
                clients.wait_for(MANY, lambda answer: answer.degraded)
                replica.promote()
                ended = time.monotonic()
                clients.wait_for(MANY, lambda answer: answer.decided and not answer.degraded)
            while (state := gateway.call("GET", "/readyz").json)["journal"]["waiting"] or state["degraded"]:
                assert time.monotonic() < ended + WAIT_SECONDS, state
                time.sleep(0.05)
            normal = time.monotonic()
        finally:
            gateway.kill()
        answered = {a.request_id: a.reply.json["decision_id"] for a in clients.answers if a.decided and a.reply is not None}
        found = Counter(replica.psql("-c", "SELECT id FROM decisions", database=DATABASE).splitlines())
        lost = [request_id for request_id, id_ in answered.items() if found[id_] != 1]
        assert not lost, lost
    during = [a for a in clients.answers[seen:] if a.sent >= began and a.answered <= ended]
    measured.add(
        "PostgreSQL failed over to a synchronous replica",
        answered=sum(a.decided for a in during),
        degraded=sum(a.degraded for a in during),
        refused=sum(a.reply is not None and not a.decided for a in during),
        unanswered=sum(a.reply is None for a in during),
        slowest=round(max(a.answered - a.sent for a in during), 3),
        normal_after=round(normal - ended, 3),
        recorded=len(found),
        lost=len(lost),
    )

"""Promise 1 where PostgreSQL fails over to a synchronous replica under load: the gateways find the new primary by themselves, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet import DATABASE, Clients, Prepared, copied, prepare
from tests.measured import Measured
from tests.promises.reckoning import MANY, Reckoning
from tests.served import Served
from tests.servers import Postgres, removed


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
            reckoning = Reckoning([gateway], replica)
            with Clients([gateway], prepared.keys["his"], "R", each=8) as clients:
                clients.wait_for(MANY)
                reckoning.begin()
                primary.kill()
                clients.wait_for(MANY, lambda answer: answer.degraded)
                replica.promote()
                reckoning.end()
                clients.wait_for(MANY, lambda answer: answer.decided and not answer.degraded)
                reckoning.wait_until_normal()
                clients.wait_for(MANY)
            figures = reckoning.settle(clients.answers)
        finally:
            gateway.kill()
    measured.add("PostgreSQL failed over to a synchronous replica", **figures)

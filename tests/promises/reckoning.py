"""What a fault was for the clients that went on sending meanwhile, made alike for every fault: each answer that left must be in the database exactly once
and as it was answered, and the chain whole."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.fleet import DATABASE, WAIT_SECONDS, Answer, verified
from tests.served import Served
from tests.servers import Postgres

MANY = 40
"""Answers that are waited for before, during and after a fault."""


class Recorded(NamedTuple):
    """A decision in the database. `at`: when it was made, by the clock of the node that made it."""

    id: str
    decision: str
    at: str


class Reckoning:
    """One fault: say when it begins and when it is mended, wait until everything is as before, and settle when the clients are gone."""

    def __init__(self, gateways: Sequence[Served], database: Postgres) -> None:
        """`database`: the one that is asked at the end."""
        self._gateways, self._database = gateways, database
        self._began = self._ended = self._normal = 0.0

    def begin(self) -> None:
        """The fault is about to begin."""
        self._began = time.monotonic()

    def end(self) -> None:
        """The fault is mended."""
        self._ended = time.monotonic()

    def wait_until_normal(self) -> None:
        """Wait until every node says that it is as it should be, and nothing is left to be drained."""
        give_up = time.monotonic() + WAIT_SECONDS
        while True:
            states = [gateway.call("GET", "/readyz") for gateway in self._gateways]
            self._normal = time.monotonic()
            if all(state.status == 200 and not state.json["degraded"] and not state.json["journal"]["waiting"] for state in states):
                return
            assert self._normal < give_up, [state.json for state in states]
            time.sleep(0.05)

    def recorded(self) -> dict[str, list[Recorded]]:
        """What is in the database, by request."""
        rows = self._database.psql("-F", "\t", "-c", "SELECT request_id, id, decision, at FROM decisions ORDER BY seq", database=DATABASE)
        found: dict[str, list[Recorded]] = {}
        for row in rows.splitlines():
            request_id, *columns = row.split("\t")
            found.setdefault(request_id, []).append(Recorded(*columns))
        return found

    def settle(self, answers: Sequence[Answer]) -> dict[str, float]:
        """Hold every answer, all of checks that are allowed, against the database; the figures of the fault."""
        seconds = self._normal - self._ended
        self.wait_until_normal()  # on a slow machine the last ones may be in the journal
        statuses = Counter(a.reply.status for a in answers if a.reply is not None)
        assert set(statuses) <= {200, 503}, statuses
        recorded = self.recorded()
        told = {a.request_id: (a.reply.json["decision_id"], a.reply.json["decision"]) for a in answers if a.decided and a.reply is not None}
        lost = {name: one for name, one in told.items() if [(row.id, row.decision) for row in recorded.get(name, [])] != [one]}
        assert not lost, lost
        assert {decision for _, decision in told.values()} == {"allow"}
        for gateway in self._gateways:
            assert "完整 whole" in verified(gateway, self._database)
        return self._figures(answers) | {"normal_after": round(seconds, 3), "recorded": sum(map(len, recorded.values())), "lost": len(lost)}

    def _figures(self, answers: Sequence[Answer]) -> dict[str, float]:
        before = [a for a in answers if a.answered <= self._began]
        during = [a for a in answers if a.sent >= self._began and a.answered <= self._ended]
        return {
            "answered": sum(a.decided for a in during),
            "degraded": sum(a.degraded for a in during),
            "refused": sum(a.refused for a in during),
            "unanswered": sum(a.reply is None for a in during),
            "slowest_before": _slowest(before),
            "slowest": _slowest(during),
        }


def _slowest(answers: Sequence[Answer]) -> float:
    return round(max((a.answered - a.sent for a in answers if a.decided), default=0.0), 3)

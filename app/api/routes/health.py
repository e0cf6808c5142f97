"""Is it alive, is it ready: for load balancers and the operations office.

Whoever can reach the service may ask whether it lives, which tells nothing else. How it is, and for which hospitals, is told to this machine, to
the operations networks, or to a key of the operations office.
"""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Request, Response
from sqlalchemy import text

from app.api.answers import Dependency, HospitalReadiness, Readiness
from app.api.http import answer, gateway_of, operations
from app.cache.reach import within
from app.store.changes import since_boot
from app.store.database import AWAY, Database

LOOK_SECONDS = 2.0
"""A store that does not answer a query of one row within that time is not there."""

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Alive: the process answers")
async def alive() -> Response:
    return answer({"status": "ok"})


@router.get(
    "/readyz",
    summary="Ready to be sent checks, and how each dependency is",
)
async def ready(request: Request, only: Annotated[str | None, operations()]) -> Response:
    """503 when there is no hospital to judge for. Without the store checks are answered by what was known last, so that this alone takes no worker
    out of service: all of them would go at once. By key, other hospitals are left out."""
    gateway = gateway_of(request)
    store = await _store(gateway.database)
    now = since_boot()
    matrix = tuple(
        HospitalReadiness(code, live.version, live.as_of, round(now - live.confirmed, 3), live.usable is not None)
        for code, live in sorted(gateway.live.hospitals.items())
        if only is None or code == only
    )
    hospitals = Dependency("up" if matrix else "down", 0.0, "" if matrix else "no hospital: surgate import PACK_DIR")
    seals = Dependency("down" if gateway.heads.failing else "up", 0.0, gateway.heads.failing)
    snapshot = Dependency("down" if gateway.keeper.failing else "up", 0.0, gateway.keeper.failing)
    state = Readiness(
        status="ready" if matrix else "not_ready",
        degraded=any(live.matrix.state.degraded for live in gateway.live.hospitals.values()),
        dependencies={"store": store, "hospitals": hospitals, "seals": seals, "snapshot": snapshot},
        matrix=matrix,
        waiting=gateway.ledger.waiting,
    )
    return answer(state, 200 if matrix else 503)


async def _store(database: Database) -> Dependency:
    began = time.perf_counter()
    try:
        await within(LOOK_SECONDS, _ask(database))
    except AWAY as error:
        return Dependency("down", round((time.perf_counter() - began) * 1000, 3), type(error).__name__)
    return Dependency("up", round((time.perf_counter() - began) * 1000, 3))


async def _ask(database: Database) -> None:
    async with database.read() as connection:
        await connection.execute(text("SELECT seq FROM changes LIMIT 1"))

"""Is it alive, is it ready: for load balancers and the operations office.

Whoever can reach the service may ask whether it lives, which tells nothing else. How it is, and for which hospitals, is told to this machine, to
the operations networks, or to a key of the operations office.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.api.answers import Dependency, HospitalReadiness, Readiness
from app.api.http import answer, gateway_of, operations
from app.store.database import Database

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
    """503 when the store does not answer, or when there is no hospital to judge for. By key, other hospitals are left out."""
    gateway = gateway_of(request)
    store = await _store(gateway.database)
    now = datetime.now(UTC)
    matrix = tuple(
        HospitalReadiness(code, live.version, live.as_of, round(max(0.0, (now - live.as_of).total_seconds()), 3))
        for code, live in sorted(gateway.live.hospitals.items())
        if only is None or code == only
    )
    known = bool(gateway.live.settings)
    hospitals = Dependency("up" if known else "down", 0.0, "" if known else "no hospital: surgate import PACK_DIR")
    seals = Dependency("down" if gateway.heads.failing else "up", 0.0, gateway.heads.failing)
    is_ready = store.status == "up" and known
    state = Readiness(
        status="ready" if is_ready else "not_ready",
        degraded=any(live.matrix.state.degraded for live in gateway.live.hospitals.values()),
        dependencies={"store": store, "hospitals": hospitals, "seals": seals},
        matrix=matrix,
        waiting=gateway.ledger.waiting,
    )
    return answer(state, 200 if is_ready else 503)


async def _store(database: Database) -> Dependency:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(LOOK_SECONDS), database.read() as connection:
            await connection.execute(text("SELECT seq FROM changes LIMIT 1"))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return Dependency("down", round((time.perf_counter() - began) * 1000, 3), type(error).__name__)
    return Dependency("up", round((time.perf_counter() - began) * 1000, 3))

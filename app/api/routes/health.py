"""Is it alive, is it ready: for load balancers and the operations office.

Whoever can reach the service may ask whether it lives, which tells nothing else. How it is, and for which hospitals, is told to this machine, to
the operations networks, or to a key of the operations office.
"""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Request, Response
from sqlalchemy import text

from app.api.answers import Dependency, HospitalReadiness, JournalBacklog, Readiness
from app.api.http import answer, gateway_of, operations
from app.errors import StoreAway
from app.store.changes import since_boot
from app.store.database import Database
from app.store.journal import refused_files

if TYPE_CHECKING:
    from app.main import Gateway

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Alive: the process answers")
async def alive() -> Response:
    return answer({"status": "ok"})


@router.get("/readyz", summary="Ready to be sent checks, and how each dependency is")
async def ready(request: Request, only: Annotated[str | None, operations()]) -> Response:
    """503 when there is no hospital to judge for. Without its store the worker goes on, degraded: what it decides is kept in the journal, and where it
    is not the check itself says so. By key, other hospitals are left out."""
    gateway = gateway_of(request)
    store = await _store(gateway)
    now = since_boot()
    matrix = tuple(
        HospitalReadiness(code, live.version, live.as_of, round(now - live.confirmed, 3), live.usable is not None)
        for code, live in sorted(gateway.live.hospitals.items())
        if only is None or code == only
    )
    known = bool(gateway.live.settings)
    hospitals = Dependency("up" if known else "down", 0.0, "" if known else "no hospital: surgate import PACK_DIR")
    seals = Dependency("down" if gateway.heads.failing else "up", 0.0, gateway.heads.failing)
    snapshot = Dependency("down" if gateway.keeper.failing else "up", 0.0, gateway.keeper.failing)
    await gateway.journal.holds()  # what the node's other workers put there counts as well
    journal = JournalBacklog(gateway.journal.waiting, _instant(gateway.journal.oldest), len(refused_files(gateway.journal.folder)))
    state = Readiness(
        status="ready" if known else "not_ready",
        degraded=store.status == "down"
        or journal.waiting > 0
        or any(live.matrix.state.degraded for live in gateway.live.hospitals.values()),
        dependencies={"store": store, "hospitals": hospitals, "seals": seals, "snapshot": snapshot} | _redis(gateway),
        matrix=matrix,
        waiting=gateway.ledger.waiting,
        journal=journal,
    )
    return answer(state, 200 if known else 503)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _redis(gateway: Gateway) -> dict[str, Dependency]:
    if gateway.relay is None:
        return {}
    up = gateway.relay.is_heard
    return {"redis": Dependency("up" if up else "down", 0.0, "" if up else "the matrix is read from the database")}


async def _store(gateway: Gateway) -> Dependency:
    """One row read; not asked for where it did not answer a moment ago."""
    began = time.perf_counter()
    try:
        await gateway.breaker.reach(partial(_look, gateway.database))
    except StoreAway as error:
        return Dependency("down", round((time.perf_counter() - began) * 1000, 3), str(error))
    return Dependency("up", round((time.perf_counter() - began) * 1000, 3))


async def _look(database: Database) -> None:
    async with database.read() as connection:
        await connection.execute(text("SELECT seq FROM changes LIMIT 1"))

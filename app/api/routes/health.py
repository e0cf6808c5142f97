"""Is it alive, is it ready: for load balancers and the operations office."""

from __future__ import annotations

from fastapi import APIRouter, Response

from app.api.http import answer

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Alive: the process answers")
async def alive() -> Response:
    return answer({"status": "ok"})

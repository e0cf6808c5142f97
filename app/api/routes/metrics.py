"""`/metrics` for Prometheus: from this machine, from the operations networks, or with a key of the operations office."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.http import gateway_of, operations
from app.telemetry.exposition import render

router = APIRouter(tags=["operations"])


@router.get("/metrics", summary="Counters of all workers of this service, for Prometheus", dependencies=[operations()])
async def metrics(request: Request) -> Response:
    gateway = gateway_of(request)
    body, content_type = render(gateway.meters.memory, gateway.shared_metrics, request.headers.get("accept", ""))
    return Response(body, media_type=content_type)

"""`/metrics` for Prometheus: from this machine, from the operations networks, or with a key of the operations office."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from app.api.http import gateway_of, operations
from app.telemetry.exposition import render

router = APIRouter(tags=["operations"])


@router.get(
    "/metrics",
    summary="Counters of all workers of this service, for Prometheus",
)
async def metrics(request: Request, only: Annotated[str | None, operations()]) -> Response:
    """By key, the series of other hospitals are left out."""
    gateway = gateway_of(request)
    body, content_type = render(gateway.meters.memory, gateway.shared_metrics, request.headers.get("accept", ""), only)
    return Response(body, media_type=content_type)

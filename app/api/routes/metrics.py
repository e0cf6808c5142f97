"""`/metrics` for Prometheus: from this machine, from the operations networks, or with a key of the operations office."""

from __future__ import annotations

from ipaddress import ip_address

from fastapi import APIRouter, Request, Response

from app.api.auth import require
from app.api.http import gateway_of
from app.settings import Settings, networks_of
from app.store.keys import Role
from app.telemetry.exposition import render

router = APIRouter(tags=["operations"])


@router.get("/metrics", summary="Counters of all workers of this service, for Prometheus")
async def metrics(request: Request) -> Response:
    gateway = gateway_of(request)
    address = request.client.host if request.client else ""
    if not _from_ops(address, gateway.settings):
        require(await gateway.guard.caller(request.headers.get("authorization"), address), [Role.OPS])
    body, content_type = render(gateway.meters.memory, gateway.shared_metrics, request.headers.get("accept", ""))
    return Response(body, media_type=content_type)


def _from_ops(address: str, settings: Settings) -> bool:
    try:
        caller = ip_address(address)
    except ValueError:
        return False
    return caller.is_loopback or any(caller in network for network in networks_of(settings.ops_networks))

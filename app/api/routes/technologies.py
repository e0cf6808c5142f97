"""A technology stopped and resumed, hospital-wide. In force on every worker when the call returns."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from app.api.http import answer, caller, gateway_of, read_json
from app.api.office import Because, author_of, technology_standing
from app.privileges.stops import set_stopped
from app.store.keys import Key, Role

router = APIRouter(prefix="/v1/technologies", tags=["technologies"])

Office = Annotated[Key, caller(Role.MEDICAL_AFFAIRS)]


@router.post("/{technology}/stop", summary="Stop a technology in the whole hospital")
async def stop_technology(request: Request, key: Office, technology: str) -> Response:
    author = author_of(key, await read_json(request, Because))
    return answer(technology_standing(await set_stopped(gateway_of(request).database, author, technology, stopped=True)))


@router.post("/{technology}/resume", summary="Let a stopped technology be done again")
async def resume_technology(request: Request, key: Office, technology: str) -> Response:
    author = author_of(key, await read_json(request, Because))
    return answer(technology_standing(await set_stopped(gateway_of(request).database, author, technology, stopped=False)))

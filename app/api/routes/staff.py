"""All privileges of a person, suspended and resumed. In force on every worker when the call returns."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from app.api.http import answer, caller, gateway_of, read_json
from app.api.office import Because, author_of, staff_standing
from app.privileges.stops import set_suspended
from app.store.keys import Key, Role

router = APIRouter(prefix="/v1/staff", tags=["staff"])

Office = Annotated[Key, caller(Role.MEDICAL_AFFAIRS)]


@router.post("/{staff}/suspend", summary="Suspend all privileges of a person")
async def suspend_staff(request: Request, key: Office, staff: str) -> Response:
    author = author_of(key, await read_json(request, Because))
    return answer(staff_standing(await set_suspended(gateway_of(request).database, author, staff, suspended=True)))


@router.post("/{staff}/resume", summary="Let a suspended person's privileges hold again")
async def resume_staff(request: Request, key: Office, staff: str) -> Response:
    author = author_of(key, await read_json(request, Because))
    return answer(staff_standing(await set_suspended(gateway_of(request).database, author, staff, suspended=False)))

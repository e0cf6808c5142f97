"""The composition root: every adapter is built here, from the settings; nothing is global."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import ORJSONResponse, Response

from app.api import check
from app.api.auth import Guard
from app.api.check import Receive, Scope, Send, handle_check
from app.api.problems import MEDIA_TYPE, problem_of
from app.authorize import Authorizer
from app.cache.live import Live
from app.errors import SurgateError
from app.settings import Settings, read_settings
from app.store.database import Database
from app.store.decisions import Ledger


class Gateway:
    """One worker: its adapters, and the ASGI application in front of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.database)
        self.live = Live(self.database, f"{os.getpid()}-{os.urandom(4).hex()}", settings.lease_seconds, settings.follow_seconds)
        self.ledger = Ledger(self.database)
        self.guard = Guard(self.live, settings.failed_keys_per_minute)
        self.authorizer = Authorizer(self.live, self.ledger, settings.max_waiting_checks)
        self.app = self._app()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == check.PATH and scope["method"] == "POST":
            await handle_check(scope, receive, send, self.guard, self.authorizer)
        else:
            await self.app(scope, receive, send)

    def _app(self) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            await self.live.start()
            self.ledger.start()
            yield
            await self.ledger.stop()
            await self.live.stop()
            await self.database.close()

        app = FastAPI(title="Surgate", lifespan=lifespan)

        @app.exception_handler(SurgateError)
        async def known(_request: Request, error: SurgateError) -> Response:
            problem = problem_of(error)
            assert problem is not None
            headers = {name.decode(): value.decode() for name, value in problem.headers}
            return Response(problem.body, problem.status, headers, MEDIA_TYPE)

        @app.get("/healthz")
        async def alive() -> ORJSONResponse:
            return ORJSONResponse({"status": "ok"})

        return app


def create_app() -> Gateway:
    """What uvicorn calls in each worker."""
    return Gateway(read_settings(dict(os.environ)))


__all__ = ["Gateway", "create_app"]

"""The composition root: every adapter is built here, from the settings; nothing is global."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from app.admission import Admission, Turns
from app.api import check
from app.api.auth import Guard
from app.api.bodies import BodyTooLarge, Disconnected, Receive, WrongMediaType
from app.api.check import Scope, Send, handle_check
from app.api.docs import add_docs
from app.api.edge import CLIENT_LEFT, Edge
from app.api.http import store_needed
from app.api.problems import Problem, internal_error, problem_of, problem_response, problem_with
from app.api.routes import WITH_STORE, WITHOUT_STORE
from app.audit.sealer import Sealer
from app.audit.store import open_store
from app.authorize import ENGINE_VERSION, Authorizer
from app.cache.keeper import Keeper
from app.cache.live import Live
from app.cache.relay import Relay
from app.cache.snapshot import Snapshot
from app.errors import BadInput, FieldError, SurgateError
from app.events.feed import Feed
from app.notify.delivery import Deliverer
from app.notify.notices import notices
from app.overrides.opening import Openings
from app.overrides.steps import Steps
from app.overrides.watch import Watch
from app.settings import Settings, read_settings
from app.store.breaker import Breaker
from app.store.decisions import Ledger
from app.store.journal import Journal
from app.store.journal_drain import Drain
from app.store.upkeep import Upkeep
from app.telemetry.logs import AccessLog, request_id
from app.telemetry.meters import Meters

FILES_AT_ONCE, MAX_FILES_IN_LINE = 1, 4
"""Imports and exports that a worker works on, and of one hospital that it has received or receives; the others wait or come again. One of 400,000
rows takes a core and hundreds of MiB for a while."""

READS_AT_ONCE, MAX_READS_IN_LINE = 3, 50
"""Readings of the record and of lists: fewer than the store has connections, so that checks never wait for one. In line: of one hospital."""


class Gateway:
    """One worker: its adapters, and the ASGI application in front of them."""

    def __init__(self, settings: Settings, meters: Meters | None = None, *, shared_metrics: Path | None = None, logs: bool = False) -> None:
        """`shared_metrics`: where the workers of the service share their counters, None for a worker that counts alone; `logs`: write an access log."""
        self.settings = settings
        self.meters = meters or Meters()
        self.shared_metrics = shared_metrics
        worker = f"{os.getpid()}-{os.urandom(4).hex()}"
        self.database, self.heads = open_store(settings, self.meters, enqueued=lambda: self.deliverer.wake())
        self.relay = None if settings.redis_address is None else Relay(self.database, settings.redis_address, worker, self.meters)
        snapshot = Snapshot(settings.snapshot_folder)
        self.live = Live(
            self.database,
            worker,
            settings.lease_seconds,
            settings.follow_seconds,
            self.meters,
            snapshot=snapshot,
            reach_seconds=settings.reach_seconds,
            max_age_seconds=settings.snapshot_max_hours * 3600,
            relay=self.relay,
            max_grants=settings.memory_grants,
        )
        self.keeper = Keeper(self.live, snapshot, self.meters)
        self.sealer = Sealer(self.database, self.heads, worker, settings.seal_seconds, self.meters)
        self.breaker = Breaker(self.database, settings.reach_seconds, self.meters)
        self.journal = Journal(settings.journal_folder, self.meters)
        self.drain = Drain(self.journal, self.database, self.breaker, self.meters)
        self.ledger = Ledger(self.database, self.journal, self.breaker, self.meters)
        self.verifying = Turns(1, 1)
        self.files = Turns(FILES_AT_ONCE, MAX_FILES_IN_LINE)
        self.reads = Turns(READS_AT_ONCE, MAX_READS_IN_LINE)
        self.guard = Guard(self.live, settings.failed_keys_per_minute)
        openings = Openings(self.database, self.breaker, notices)
        self.admission = Admission(settings.max_waiting_checks, self.meters)
        self.authorizer = Authorizer(self.live, self.ledger, openings, self.admission, self.meters)
        self.steps = Steps(self.database, self.live, notices)
        self.upkeep = Upkeep(self.database, worker)
        self.watch = Watch(self.database, self.live, worker, notices, self.meters)
        self.deliverer = Deliverer(
            self.database,
            self.live,
            worker,
            timeout_seconds=settings.notify_timeout_seconds,
            retry_seconds=settings.notify_retry_seconds,
            attempts=settings.notify_attempts,
            meters=self.meters,
        )
        self.feed = Feed(self.database, settings.max_event_streams, self.meters)
        self.app = self._app()
        self.access_log = AccessLog(self.meters.memory.slot) if logs and settings.access_log else None
        self.edge = Edge(self._route, self.meters, self.access_log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.edge(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == check.PATH:
            await handle_check(scope, receive, send, self.guard, self.authorizer)
        else:
            await self.app(scope, receive, send)

    async def _start(self) -> None:
        await self.live.start()
        self.keeper.start()
        await self.journal.open()
        self.ledger.start()
        self.drain.start()
        self.deliverer.start()
        self.watch.start()
        self.upkeep.start()
        await self.sealer.start()

    async def _stop(self) -> None:
        await self.feed.stop()
        await self.upkeep.stop()
        await self.keeper.stop()
        await self.watch.stop()
        await self.ledger.stop()
        await self.drain.stop()
        await self.breaker.stop()
        await self.journal.close()
        await self.deliverer.stop()
        await self.live.stop()
        await self.sealer.stop()
        await self.database.close()
        if self.access_log is not None:
            self.access_log.flush()

    def _app(self) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            await self._start()
            try:
                yield
            finally:
                await self._stop()

        app = FastAPI(title="Surgate", version=ENGINE_VERSION, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
        app.state.gateway = self
        _handle_errors(app)
        for router in WITHOUT_STORE:
            app.include_router(router)
        for router in WITH_STORE:
            app.include_router(router, dependencies=[store_needed()])
        add_docs(app)
        return app


def _handle_errors(app: FastAPI) -> None:
    """Every error becomes a problem document, ours and the framework's."""

    async def known(_request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        assert problem is not None
        return problem_response(problem)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        allow = _methods(app, request) or (error.headers or {}).get("Allow", "")
        headers = ((b"allow", allow.encode()),) if error.status_code == 405 else ()
        return problem_response(problem_with(error.status_code, str(error.detail), headers))

    async def left(_request: Request, _error: Exception) -> Response:
        return Response(status_code=CLIENT_LEFT)  # for the log: nobody receives it

    async def bad_parameters(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        fields = [FieldError(".".join(str(p) for p in e["loc"][1:]), e["type"], f"参数无效 / {e['msg']}") for e in error.errors()]
        return problem_response(_problem(BadInput(fields)))

    async def defect(_request: Request, _error: Exception) -> Response:
        return problem_response(internal_error(request_id.get() or ""))

    app.add_exception_handler(Exception, defect)
    for kind in (SurgateError, SQLAlchemyError, BodyTooLarge, WrongMediaType):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(Disconnected, left)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, bad_parameters)


def _methods(app: FastAPI, request: Request) -> str:
    """The methods that a path takes. The framework tells those of the first route alone."""
    path = request.url.path
    taken = {m.upper() for known, methods in app.openapi()["paths"].items() if _is(known, path) for m in methods}
    return ", ".join(sorted(taken | ({"HEAD"} if "GET" in taken else set())))


def _is(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) is not None


def _problem(error: SurgateError) -> Problem:
    problem = problem_of(error)
    assert problem is not None
    return problem


def create_app() -> Gateway:
    """What uvicorn calls in each worker."""
    return Gateway(read_settings(dict(os.environ)))


__all__ = ["Gateway", "create_app"]

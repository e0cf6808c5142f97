"""The routes behind the framework's router, one module per noun; each has a `router`."""

from fastapi import APIRouter

from app.api.routes import (
    audit,
    cases,
    changes,
    checks,
    decisions,
    events,
    exports,
    grants,
    health,
    imports,
    keys,
    metrics,
    notifications,
    overrides,
    people,
    staff,
    stats,
    technologies,
)

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    metrics.router,
    keys.router,
    grants.router,
    staff.router,
    technologies.router,
    changes.router,
    checks.router,
    decisions.router,
    cases.router,
    overrides.router,
    people.router,
    stats.router,
    imports.router,
    exports.router,
    events.router,
    notifications.router,
    audit.router,
)

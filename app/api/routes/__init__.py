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

WITHOUT_STORE: tuple[APIRouter, ...] = (health.router, metrics.router, checks.router, people.router)
"""Those that answer while the store is away too."""

WITH_STORE: tuple[APIRouter, ...] = (
    keys.router,
    grants.router,
    staff.router,
    technologies.router,
    changes.router,
    decisions.router,
    cases.router,
    overrides.router,
    stats.router,
    imports.router,
    exports.router,
    events.router,
    notifications.router,
    audit.router,
)

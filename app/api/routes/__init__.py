"""The routes behind the framework's router, one module per noun; each has a `router`."""

from fastapi import APIRouter

from app.api.routes import health

ROUTERS: tuple[APIRouter, ...] = (health.router,)

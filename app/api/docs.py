"""`/docs` and `/openapi.json`, served from this machine alone: the page's script and style come with a package, not from a network."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse

from app.api.http import answer
from app.api.schemas import document
from app.errors import NotFound

OPENAPI = "/openapi.json"
_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}


def add_docs(app: FastAPI) -> None:
    """Serve the OpenAPI document and its page. To be called when every route is there."""
    made: dict[str, Any] = {}

    def whole() -> dict[str, Any]:
        if not made:
            made.update(document(app))
        return made

    async def description(_request: Request) -> Response:
        return answer(whole())

    async def page(_request: Request) -> Response:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="Surgate",
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url="docs/favicon.png",
            # The page's own validator is a service on the network.
            swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": False},
        )

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _ASSETS:
            raise NotFound(name)
        return FileResponse(Path(str(resources.files("fastapi_offline") / "static" / name)), media_type=_ASSETS[name])

    app.openapi = whole  # type: ignore[method-assign]
    app.add_route(OPENAPI, description, include_in_schema=False)
    app.add_route("/docs", page, include_in_schema=False)
    app.add_route("/docs/{name}", asset, include_in_schema=False)

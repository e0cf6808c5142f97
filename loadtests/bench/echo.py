"""The bare server that Surgate is held against: it reads the request and answers so many bytes, and does nothing else."""

from __future__ import annotations

import os
from typing import Any

VARIABLE = "ANSWER_BYTES"


class Echo:
    """The application."""

    def __init__(self, answer_bytes: int) -> None:
        self._body = b'"' + b"x" * (answer_bytes - 2) + b'"'
        self._start = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json"), (b"content-length", str(answer_bytes).encode())],
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(self._start)
        await send({"type": "http.response.body", "body": self._body})


def app() -> Echo:
    """What uvicorn is told to run."""
    return Echo(int(os.environ[VARIABLE]))

"""The supervisor's patience with a machine that is short of everything."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.serving import supervisor
from app.serving.supervisor import NotStarted, Supervisor
from app.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_worker_is_tried_again_until_it_starts_whatever_was_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", (0.0,))
    made = Supervisor(Settings(var_dir=tmp_path), [])
    ours, theirs = socket.socketpair()
    ends: list[Exception] = [OSError("no process to be had"), NotStarted("worker 0 ended")]

    async def start(_slot: int) -> socket.socket:
        if ends:
            raise ends.pop(0)
        return ours

    monkeypatch.setattr(made, "_start", start)
    with ours, theirs:
        assert await made._restart(0) is ours
    assert not ends

"""PostgreSQL for more than one machine: bounded pools, time-outs, and which isolation a transaction has."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

APPLICATION = "surgate"
RECYCLE_SECONDS = 1800
"""Connections are made anew after that time, so that a fail-over or a change of settings reaches all of them."""

KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT = 5, 3, 3
"""After how long without a word the other side is asked whether it is there, how often, and how many times in vain before the connection is given up."""

SILENT_SECONDS = KEEPALIVE_IDLE_SECONDS + KEEPALIVE_INTERVAL_SECONDS * KEEPALIVE_COUNT
"""After how long a connection ends whose other side is gone without a word, as after a fail-over that takes the address away or behind a firewall that
forgot it. Otherwise a statement that was received would be waited for without end, and its transaction's locks be held as long on the server."""

_OPTIONS = tuple(
    (number, value)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_SECONDS),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_SECONDS),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
        ("TCP_USER_TIMEOUT", SILENT_SECONDS * 1000),
    )
    if (number := getattr(socket, name, None)) is not None  # macOS lacks some of them
)


class Limits(NamedTuple):
    """What a worker may take of the server, and for how long. Times are in seconds."""

    connections: int = 10
    connect: float = 3.0
    statement: float = 60.0
    lock: float = 10.0
    idle_in_transaction: float = 10.0


def engine(url: str, limits: Limits) -> AsyncEngine:
    """The pool of connections."""
    settings = {
        "application_name": APPLICATION,
        "statement_timeout": _milliseconds(limits.statement),
        "lock_timeout": _milliseconds(limits.lock),
        # A worker that was frozen in the middle of a transaction holds its locks no longer than that.
        "idle_in_transaction_session_timeout": _milliseconds(limits.idle_in_transaction),
        # A plan is kept for as long as nobody analyses the table: one made when a month's table was empty reads all of it when it is full.
        "plan_cache_mode": "force_custom_plan",
        "jit": "off",  # compiling costs more than our small statements take
        "synchronous_commit": "on",
        "timezone": "UTC",
        # The server lets go of a gateway that is gone, and of its locks, as the gateway does of a server (`_watch`).
        "tcp_keepalives_idle": str(KEEPALIVE_IDLE_SECONDS),
        "tcp_keepalives_interval": str(KEEPALIVE_INTERVAL_SECONDS),
        "tcp_keepalives_count": str(KEEPALIVE_COUNT),
        "tcp_user_timeout": _milliseconds(SILENT_SECONDS),
    }
    made = create_async_engine(
        url,
        hide_parameters=True,
        pool_size=limits.connections,
        max_overflow=0,
        pool_timeout=limits.connect,
        pool_recycle=RECYCLE_SECONDS,
        pool_use_lifo=True,  # what is not needed stays idle and is given back by the server's or a proxy's own time-out
        # A standby answers whoever is led to it, with what was true a while ago: what is read there would pass for the truth.
        connect_args={"timeout": limits.connect, "server_settings": settings, "target_session_attrs": "primary"},
    )
    event.listen(made.sync_engine, "connect", _watch)
    return made


def reader(made: AsyncEngine) -> AsyncEngine:
    """The same pool for transactions that read: each sees one state throughout, and can write nothing."""
    return made.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def writer(made: AsyncEngine) -> AsyncEngine:
    """The same pool for transactions that write: each statement sees what was committed before it, so that who waited for a lock sees what its
    holder did."""
    return made.execution_options(isolation_level="READ COMMITTED")


def _watch(connection: Any, _record: Any) -> None:
    """Have the kernel find out that a server is gone: neither the driver nor the loop asks for it, nor does the driver give its socket away."""
    channel = connection.driver_connection._transport.get_extra_info("socket")
    if channel.family == socket.AF_UNIX:
        return  # whose other side is on this machine: its end is told at once
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for number, value in _OPTIONS:
        channel.setsockopt(socket.IPPROTO_TCP, number, value)


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))

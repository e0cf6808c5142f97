"""The way to Redis: connecting, short time-outs, and a circuit breaker, so that a Redis that is dead or frozen costs one time-out and not one per
question."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from app.cache.redis_address import Address
from app.telemetry.meters import Meters

TIMEOUT_SECONDS = 0.5
"""How long one question may take. Half of the usual lease: a worker that waits this long for Redis in vain still renews its lease in time."""

MAX_CONNECTIONS = 8
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 10.0
"""How long Redis is left alone after a question failed; doubled each time until one succeeds."""

FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What the clients raise. That no server of a cluster can be reached, or none has a key's slot, is no `RedisError`."""

_log = logging.getLogger("surgate.redis")


class Away(Exception):
    """Redis did not do what it was asked, or is not asked because it failed a moment ago."""


class Client(Protocol):
    """What of redis-py's clients is used, the same for one server, Sentinels and a cluster."""

    async def execute_command(self, *words: Any) -> Any: ...
    async def aclose(self) -> None: ...


class _Watched:
    """The server that Sentinels name as the one that is written to."""

    def __init__(self, sentinel: Sentinel, service: str) -> None:
        self._sentinels = sentinel.sentinels
        self._master = sentinel.master_for(service)

    async def execute_command(self, *words: Any) -> Any:
        return await self._master.execute_command(*words)

    async def aclose(self) -> None:
        for client in (self._master, *self._sentinels):
            await client.aclose()


def connect(address: Address, timeout_seconds: float) -> Client:
    """A client that connects when it is first asked."""
    options = _options(address, timeout_seconds)
    if address.kind == "cluster":
        nodes = [ClusterNode(host, port, **_security(address)) for host, port in address.hosts]
        cluster: Client = RedisCluster(startup_nodes=nodes, **options)
        return cluster
    options |= {"db": address.database}
    if address.kind == "sentinel":
        own = {name: address.options.get(f"sentinel_{name}") for name in ("username", "password")}
        sentinel = Sentinel(address.hosts, sentinel_kwargs=options | own | {"db": 0}, **options)  # type: ignore[no-untyped-call]
        return _Watched(sentinel, address.service)
    host, port = address.hosts[0]
    single: Client = Redis(host=host, port=port, **options)
    return single


def _options(address: Address, timeout_seconds: float) -> dict[str, Any]:
    return {
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 1),  # a connection that died while nobody used it is made anew
        "max_connections": MAX_CONNECTIONS,
        "protocol": 2,
        **_security(address),
    }


def _security(address: Address) -> dict[str, Any]:
    if not address.tls:
        return {}
    return {"ssl": True} | {name: value for name, value in address.options.items() if name.startswith("ssl_")}


class Way:
    """One worker's way to Redis.

    Nobody who answers checks tries whether Redis is there again: once it has failed it is not asked until somebody who has the time for it (the
    feed) has heard from it. A failure that the feed does not share, of one server of a cluster or for want of memory, costs a pause each time.
    """

    def __init__(self, address: Address, meters: Meters) -> None:
        self.address = address
        self._client = connect(address, TIMEOUT_SECONDS)
        self._meters = meters
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._heard = True
        self._closed = False
        self._pause = 0.0
        self._again_at = 0.0
        self._known_as_up = True
        meters.redis_up(True)

    @property
    def up(self) -> bool:
        """Whether it is worth asking."""
        return self._heard and not self._closed and time.monotonic() >= self._again_at

    async def ask(self, *words: Any) -> Any:
        """The answer to one command. Raises `Away`."""
        if self.up:
            async with self._room:
                if self.up:  # who waited for room does not find out for itself what another one has
                    return await self._asked(words)
        raise Away

    async def _asked(self, words: Sequence[Any]) -> Any:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer = await self._client.execute_command(*words)
        except FAILURES as error:
            self._pause = min(MAX_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * self._pause))
            self._again_at = time.monotonic() + self._pause
            self.lost(error)
            raise Away from error
        finally:
            if self._closed:
                await self._client.aclose()  # it may have been connecting when every connection was closed
        self._pause = 0.0
        return answer

    def lost(self, error: BaseException) -> None:
        """Somebody did not get an answer."""
        self._heard = False
        self._meters.redis_up(False)
        if self._known_as_up:
            # The kind alone: the text of an error may name what was sent.
            _log.warning("Redis %s is away: %s; the database is read instead", self.address.shown, type(error).__name__)
        self._known_as_up = False

    def heard(self) -> None:
        """Somebody got an answer."""
        self._heard = True
        if not self.up:
            return
        self._meters.redis_up(True)
        if not self._known_as_up:
            _log.info("Redis %s is there again", self.address.shown)
        self._known_as_up = True

    async def close(self) -> None:
        """Close every connection; nothing is asked any more."""
        self._closed = True
        await self._client.aclose()

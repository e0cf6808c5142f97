"""Who calls: the key in `Authorization: Bearer`, its hospital and roles; failed attempts from one address are limited."""

from __future__ import annotations

import time
from collections.abc import Collection
from ipaddress import IPv6Address, ip_address

from app.cache.live import Live
from app.errors import NotAllowed, TooMany, Unauthenticated
from app.settings import networks_of
from app.store.keys import Key, Role, split

WINDOW_SECONDS = 60.0
MAX_ADDRESSES = 10_000
"""Addresses whose failures are remembered; beyond it the oldest are forgotten."""


class Guard:
    """Lets callers in by their key."""

    def __init__(self, live: Live, failures_per_minute: int) -> None:
        self._live = live
        self._most = failures_per_minute
        self._failures: dict[str, tuple[float, int]] = {}

    async def caller(self, authorization: str | None, address: str) -> Key:
        """As `key`, by what is in force now: a worker whose lease has run out (it was frozen) looks at the change log first."""
        await self._live.fresh()
        return self.key(authorization, address)

    def key(self, authorization: str | None, address: str) -> Key:
        """The key that was sent. A good one always opens, whoever else fails from that address: an emergency is never locked out by a neighbour
        behind the same router.

        Raises:
            Unauthenticated: there is none, it is unknown, wrong or revoked. It does not say which.
            TooMany: that address failed too often within a minute.
        """
        key = self.known(authorization)
        if key is not None:
            return key
        since, count = self._failures.get(address, (0.0, 0))
        fresh = time.monotonic() - since > WINDOW_SECONDS
        if count >= self._most and not fresh:
            raise TooMany("too many failed attempts from this address")
        self._remember(address, 1 if fresh else count + 1, time.monotonic() if fresh else since)
        raise Unauthenticated("Authorization: Bearer KEY")

    def known(self, authorization: str | None) -> Key | None:
        """The key that was sent, as far as memory tells; None where it would not be let in."""
        scheme, _, text = (authorization or "").partition(" ")
        sent = split(text.strip()) if scheme.lower() == "bearer" else None
        if sent is None:
            return None
        key = self._live.keys.get(sent[0])
        if key is None or not key.opens_with(sent[1]) or key.revoked_at is not None or key.hospital not in self._live.settings:
            return None
        return key

    def _remember(self, address: str, count: int, since: float) -> None:
        if len(self._failures) >= MAX_ADDRESSES:
            self._failures.pop(next(iter(self._failures)))
        self._failures[address] = (since, count)


def from_operations(address: str, networks: str) -> bool:
    """Whether an address is of this machine or of the operations networks (by commas). An IPv4 caller of a socket that takes both kinds comes
    as `::ffff:…`."""
    try:
        caller = ip_address(address)
    except ValueError:
        return False
    if isinstance(caller, IPv6Address):
        caller = caller.ipv4_mapped or caller
    return caller.is_loopback or any(caller in network for network in networks_of(networks))


def require(key: Key, roles: Collection[Role]) -> None:
    """Raises `NotAllowed` unless the key has one of the roles; `admin` may do everything in its hospital."""
    if Role.ADMIN not in key.roles and key.roles.isdisjoint(roles):
        raise NotAllowed(f"needs one of the roles: {', '.join(sorted(r.value for r in roles))}")

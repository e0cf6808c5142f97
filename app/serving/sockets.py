"""The listening sockets: one per worker on one port, so that the kernel spreads connections evenly over the workers.

The supervisor makes and keeps them all. Connections that wait on the socket of a worker that died are answered by the one that follows it.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

BACKLOG = 2048
"""Connections that may wait to be accepted, per worker."""


class PortTaken(Exception):
    """Somebody else listens there, or this user may not."""


def listen(host: str, port: int, workers: int) -> Sequence[socket.socket]:
    """As many listening sockets as there are workers.

    Raises:
        PortTaken: the address cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        _refuse_if_taken(family, address)
        return [_listener(family, address, shared=workers > 1) for _ in range(workers)]
    except OSError as error:
        raise PortTaken(f"{host}:{port}: {error}") from None


def _refuse_if_taken(family: int, address: object) -> None:
    """A shared port is given to every process of this user that asks for it; a plain one is not while somebody listens."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)  # type: ignore[arg-type]


def _listener(family: int, address: object, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(address)  # type: ignore[arg-type]
    made.listen(BACKLOG)
    return made

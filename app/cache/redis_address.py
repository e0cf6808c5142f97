"""Where Redis is, as its URL says: one server, a group watched by Sentinels, or a cluster; with or without TLS."""

from __future__ import annotations

from typing import Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

REDIS_PORT, SENTINEL_PORT = 6379, 26379
FORMS = "redis://[USER:PASSWORD@]HOST[:PORT][/DB], redis+sentinel://…@HOST,HOST/SERVICE, redis+cluster://…@HOST,HOST; rediss… for TLS"

_KINDS: dict[str, Literal["single", "sentinel", "cluster"]] = {"": "single", "sentinel": "sentinel", "cluster": "cluster"}
_OPTIONS = frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "sentinel_username", "sentinel_password"})


class Address(NamedTuple):
    """Where Redis is and who asks. `hosts`: the Sentinels', or some of the cluster's. `service`: what the Sentinels call the group.
    `options`: the rest of the URL (`ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `sentinel_username`, `sentinel_password`)."""

    kind: Literal["single", "sentinel", "cluster"]
    hosts: tuple[tuple[str, int], ...]
    tls: bool
    username: str | None
    password: str | None
    database: int
    service: str
    options: dict[str, str]

    def __repr__(self) -> str:
        return self.shown

    @property
    def shown(self) -> str:
        """For people: without user and password."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        scheme = ("rediss" if self.tls else "redis") + ("" if self.kind == "single" else f"+{self.kind}")
        return f"{scheme}://{hosts}/{self.service or self.database}"


def parse(url: str) -> Address:
    """The address in a URL. Raises `ValueError`, whose text holds nothing of the URL: a password may stand anywhere in one that is wrong."""
    try:
        return _parsed(urlsplit(url))
    except ValueError:
        raise ValueError(f"must be {FORMS}; options: {', '.join(sorted(_OPTIONS))}") from None


def _parsed(parts: SplitResult) -> Address:
    scheme, _, kind_name = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or kind_name not in _KINDS or parts.fragment:
        raise ValueError
    kind = _KINDS[kind_name]
    user, _, hosts = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    if not options.keys() <= _OPTIONS:
        raise ValueError
    path = parts.path.removeprefix("/")
    database = options.pop("db", "0") if kind != "single" else options.pop("db", path or "0")
    found = tuple(_host(text, SENTINEL_PORT if kind == "sentinel" else REDIS_PORT) for text in hosts.split(","))
    if (
        (kind == "single" and len(found) > 1)
        or (kind == "sentinel") != bool(path and kind != "single")
        or (kind == "cluster" and int(database))
    ):
        raise ValueError
    service = unquote(path) if kind == "sentinel" else ""
    return Address(kind, found, scheme == "rediss", unquote(username) or None, unquote(password) or None, int(database), service, options)


def _host(text: str, default: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or default

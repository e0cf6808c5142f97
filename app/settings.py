"""All settings: one frozen class, read from the environment (prefix `SURGATE_`), refused at the start where wrong."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from app.cache.redis_address import Address, parse
from app.errors import SurgateError

PREFIX = "SURGATE_"
SQLITE = "sqlite+aiosqlite:///"
POSTGRESQL = "postgresql+asyncpg://"


class BadSettings(SurgateError):
    """A setting is unknown or malformed. The text names each with its variable."""


class Settings(BaseModel):
    """What a deployment decides. Every field is a variable `SURGATE_<NAME>`; times are in seconds, sizes in what the name says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: Annotated[
        str,
        Field(
            description="Where everything is kept: sqlite+aiosqlite:///PATH, or postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE; empty: VAR_DIR/surgate.db"
        ),
    ] = ""
    database_connections: Annotated[int, Field(ge=4, le=200, description="Connections to PostgreSQL, per worker")] = 10
    database_statement_seconds: Annotated[float, Field(gt=0, le=3600, description="How long one statement may take on PostgreSQL")] = 60.0
    database_lock_seconds: Annotated[float, Field(gt=0, le=600, description="How long a statement may wait for a lock on PostgreSQL")] = (
        10.0
    )
    redis_url: Annotated[
        str,
        Field(
            repr=False, description="Where the matrix is shared: redis://, rediss://, redis+sentinel://, redis+cluster://; empty: nowhere"
        ),
    ] = ""
    memory_grants: Annotated[int, Field(ge=1, description="Grants that a worker holds in memory at most, of all hospitals")] = 2_000_000
    host: Annotated[str, Field(description="Address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535, description="Port to listen on")] = 8080
    workers: Annotated[int, Field(ge=1, le=64, description="Worker processes on this machine")] = 1
    var_dir: Annotated[Path, Field(description="Folder for the embedded store, the journal and the demo keys")] = Path("var")
    demo: Annotated[bool, Field(description="Keep demo keys in VAR_DIR/demo-keys.json; only on a loopback address")] = False
    seal_key_file: Annotated[
        Path | None, Field(description="Private key that seals the record, made where absent; empty: VAR_DIR/seal-key.pem")
    ] = None
    seal_seconds: Annotated[float, Field(gt=0, le=3600, description="How often the record's chain is sealed")] = 60.0
    archive_dir: Annotated[Path | None, Field(description="Folder of the record's archived segments; empty: VAR_DIR/archives")] = None
    lease_seconds: Annotated[
        float, Field(gt=0, le=10, description="How long a worker may trust its memory without looking at the change log")
    ] = 1.0
    reach_seconds: Annotated[
        float,
        Field(
            gt=0, le=60, description="How long the database may take for a check, before it goes on without: its record into the journal"
        ),
    ] = 1.0
    snapshot_max_hours: Annotated[
        float,
        Field(gt=0, le=168, description="How old the grant matrix may get, while the database is away, before nothing is allowed by it"),
    ] = 12.0
    follow_seconds: Annotated[float, Field(gt=0, le=5, description="How often a worker looks at the change log")] = 0.05
    max_waiting_checks: Annotated[
        int,
        Field(
            ge=10, le=100_000, description="Checks in hand at once, per worker: all ranks and hospitals; the last of it is for emergencies"
        ),
    ] = 2000
    failed_keys_per_minute: Annotated[int, Field(ge=1, le=10_000, description="Wrong keys from one address before 429")] = 30
    max_event_streams: Annotated[int, Field(ge=1, le=10_000, description="Streams of GET /v1/events at once, per worker")] = 100
    notify_retry_seconds: Annotated[
        float, Field(gt=0, le=900, description="Wait before a notification is tried a second time; doubled each time, up to 15 minutes")
    ] = 1.0
    notify_attempts: Annotated[
        int, Field(ge=1, le=10_000, description="Tries before a notification is put aside as dead; 100 take about a day")
    ] = 100
    notify_timeout_seconds: Annotated[
        float, Field(gt=0, le=60, description="How long one try of a notification may take, before it counts as failed")
    ] = 10.0
    max_connections: Annotated[
        int,
        Field(
            ge=1,
            le=100_000,
            description="Connections at once, per worker; less where the system allows less files. Beyond it the longest idle makes room",
        ),
    ] = 4000
    head_seconds: Annotated[
        float, Field(gt=0, le=600, description="How long the head of a request may take to come, and the first one")
    ] = 10.0
    body_seconds: Annotated[
        float, Field(gt=0, le=600, description="How long the body of a request may take to come, and one more second for each 16 KiB")
    ] = 20.0
    send_seconds: Annotated[float, Field(gt=0, le=600, description="How long a client may take nothing of an answer that waits for it")] = (
        30.0
    )
    stop_seconds: Annotated[int, Field(ge=1, le=600, description="How long a stop waits for the requests in flight")] = 15
    ops_networks: Annotated[
        str, Field(description="Networks, by commas, that may read /readyz and /metrics without a key; loopback always may")
    ] = ""
    trusted_proxies: Annotated[str, Field(description="Addresses, by commas, whose X-Forwarded-For is believed; empty: none")] = ""
    access_log: Annotated[bool, Field(description="One log line per request")] = True
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="DEBUG, INFO, WARNING or ERROR")] = "INFO"

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        if url.startswith(POSTGRESQL):
            _postgresql(url)
        elif url and url.removeprefix(SQLITE) in (url, "", ":memory:"):
            raise ValueError(f"must be {SQLITE}PATH or {POSTGRESQL}USER:PASSWORD@HOST/DATABASE")
        return url

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, url: str) -> str:
        if url:
            parse(url)
        return url

    @field_validator("var_dir", mode="before")
    @classmethod
    def _named_folder(cls, folder: object) -> object:
        if folder == "":
            raise ValueError("must name a folder")
        return folder

    @field_validator("seal_key_file", "archive_dir", mode="before")
    @classmethod
    def _empty_is_default(cls, path: object) -> object:
        return None if path == "" else path

    @field_validator("ops_networks", "trusted_proxies")
    @classmethod
    def _networks_only(cls, text: str) -> str:
        networks_of(text)
        return text

    @property
    def database(self) -> str:
        """The database's URL, the embedded store's by default."""
        return self.database_url or f"{SQLITE}{(self.var_dir / 'surgate.db').resolve()}"

    @property
    def redis_address(self) -> Address | None:
        """Where Redis is; None where there is none."""
        return parse(self.redis_url) if self.redis_url else None

    @property
    def embedded(self) -> bool:
        """Whether the store is a file of this machine."""
        return self.database.startswith(SQLITE)

    @property
    def demo_keys_file(self) -> Path:
        return self.var_dir / "demo-keys.json"

    @property
    def seal_key(self) -> Path:
        """The file of the key that seals the record. The database does not hold it."""
        return self.seal_key_file or self.var_dir / "seal-key.pem"

    @property
    def seals_folder(self) -> Path:
        """Where the signed heads and the log of seals are kept, outside the database."""
        return self.var_dir / "seals"

    @property
    def snapshot_folder(self) -> Path:
        """Where the node keeps what its workers judge by, for the time when the database is away."""
        return self.var_dir / "snapshot"

    @property
    def archives_folder(self) -> Path:
        return self.archive_dir or self.var_dir / "archives"

    @property
    def journal_folder(self) -> Path:
        """Where decisions are kept while the database is away; shared by the workers of this machine."""
        return self.var_dir / "journal"

    @property
    def metrics_folder(self) -> Path:
        """Where the workers of one service share their counters."""
        return self.var_dir / "metrics"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def _postgresql(url: str) -> None:
    """Raises `ValueError` for what is no URL of a database."""
    try:
        parts = make_url(url)
    except ArgumentError:
        parts = None
    if parts is None or not parts.database or not (parts.host or "host" in parts.query):
        raise ValueError(f"must be {POSTGRESQL}USER:PASSWORD@HOST/DATABASE")


def _given(error: ErrorDetails) -> str:
    """What was given, unless it may hold a password."""
    return "" if str(error["loc"][0]).endswith("_url") else f"（{error['input']!r}）"


def networks_of(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks in a list with commas. Raises `ValueError` for what is none."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def read_settings(environment: dict[str, str]) -> Settings:
    """The settings of an environment.

    Raises:
        BadSettings: a variable with our prefix that is no setting, or a value that a setting does not take; all are named.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    wrong = [f"{name}: 未知设置 / unknown setting; known are {', '.join(sorted(known))}" for name in unknown]
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name in known}
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        wrong += [f"{PREFIX}{'.'.join(str(p) for p in e['loc']).upper()}: {e['msg']}{_given(e)}" for e in error.errors()]
        raise BadSettings("\n".join(wrong)) from None
    if settings.demo and not settings.loopback:
        wrong.append(f"{PREFIX}HOST: 演示密钥只能用于本机地址 / demo keys exist only on a loopback address, not {settings.host}")
    if wrong:
        raise BadSettings("\n".join(wrong))
    return settings

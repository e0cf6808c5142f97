"""What `surgate doctor` looks at where the store is PostgreSQL. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.serving.findings import Finding
from app.settings import Settings

OLDEST = 150000
"""PostgreSQL 15, as `server_version_num` counts."""

MAX_APART_SECONDS = 5.0

_LOOK = text(
    """
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
           current_setting('server_encoding') AS encoding, current_setting('max_connections')::int AS connections,
           current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
           (SELECT datcollate FROM pg_database WHERE datname = current_database()) AS collation,
           (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) AS replicas,
           clock_timestamp() AS now
    """
)


async def examine_server(settings: Settings, connection: AsyncConnection) -> list[Finding]:
    """The server and its settings, as far as they matter for what the gateway promises."""
    row = (await connection.execute(_LOOK)).one()
    return [*_server(row), *_durability(row), *_room(settings, row), _clock(row.now)]


def _server(row: Row[tuple[object, ...]]) -> Iterator[Finding]:
    fits = row.number >= OLDEST
    yield Finding("good" if fits else "wrong", "PostgreSQL", row.version, "" if fits else "升级到15或更高 / upgrade to 15 or newer")
    if row.encoding != "UTF8":
        yield Finding("wrong", "数据库编码 encoding", row.encoding, "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0")
    if not row.collation.upper().startswith(("C.", "C", "POSIX")):
        told = f"{row.collation}: 操作系统升级可能损坏索引 / an upgrade of the operating system may break its indexes"
        yield Finding("note", "排序规则 collation", told, "CREATE DATABASE … LOCALE 'C.UTF-8' TEMPLATE template0")


def _durability(row: Row[tuple[object, ...]]) -> Iterator[Finding]:
    for name in ("fsync", "full_page_writes"):
        if getattr(row, name) != "on":
            told = "off: 断电会丢失已答复的决定 / a power cut loses answered decisions"
            yield Finding("wrong", name, told, f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf()")
    if not row.replicas:
        told = "无：主库损毁会丢失其后的记录 / none: what the primary alone held is lost with it"
        yield Finding("note", "同步副本 synchronous replicas", told, "synchronous_standby_names, docs/operations.md")


def _room(settings: Settings, row: Row[tuple[object, ...]]) -> Iterator[Finding]:
    needed = settings.workers * settings.database_connections
    fits = needed < row.connections
    told = f"{needed} × 节点数 nodes, max_connections {row.connections}"
    yield Finding("good" if fits else "wrong", "连接数 connections", told, "" if fits else "SURGATE_DATABASE_CONNECTIONS, max_connections")


def _clock(now: datetime) -> Finding:
    apart = abs((datetime.now(UTC) - now).total_seconds())
    good = apart <= MAX_APART_SECONDS
    return Finding(
        "good" if good else "note",
        "时钟 clocks",
        f"与数据库相差 apart from the database's by {apart:.1f} s",
        "" if good else "NTP: 授权不依赖时钟，但记录的时间依赖 / times in the record depend on it",
    )

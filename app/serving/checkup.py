"""What `surgate doctor` looks at. Nothing here changes anything."""

from __future__ import annotations

import asyncio
import http.client
import os
import resource
import shutil
import socket
import sqlite3
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from alembic.migration import MigrationContext
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.audit.keyfile import KeyFile, SealKeyUnusable
from app.audit.store import limits_of
from app.cache.redis_client import FAILURES, TIMEOUT_SECONDS, connect
from app.cache.snapshot import Snapshot
from app.notify.targets import hours_without
from app.serving.findings import Finding
from app.serving.journal_checkup import examine_journal
from app.serving.postgres_checkup import examine_server
from app.settings import SQLITE, Settings
from app.store import hospitals, keys, outbox, tables
from app.store.database import AWAY, Database
from app.store.migrate import newest

MIN_FREE_BYTES = 1 << 30
"""A decision takes about 4 KiB: a quarter of a million of them."""

MIN_OPEN_FILES = 1024
_STORE = "数据库 SURGATE_DATABASE_URL"

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "glusterfs", "ceph"})


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything that a service with these settings needs."""
    findings = [*_folder(settings.var_dir), *examine_journal(settings), *_snapshot(settings), *_seal_key(settings), *_limits()]
    findings += [*_store_file(settings), *await _file(settings)] if settings.embedded else await _server(settings)
    findings += await _redis(settings)
    findings += await asyncio.to_thread(lambda: list(_listening(settings)))
    return findings


async def _redis(settings: Settings) -> list[Finding]:
    """Whether Redis answers. The text of an error is not told: it may name the user."""
    address = settings.redis_address
    if address is None:
        return []
    client = connect(address, TIMEOUT_SECONDS)
    try:
        await client.execute_command("PING")
    except FAILURES as error:
        told = f"{address.shown} 没有回答 / does not answer: {type(error).__name__}"
        return [
            Finding(
                "wrong",
                "Redis",
                told,
                "检查 SURGATE_REDIS_URL、用户与证书；其间直接读数据库 / address, user, CA; the database is read meanwhile",
            )
        ]
    finally:
        await client.aclose()
    return [Finding("good", "Redis", address.shown)]


def _folder(folder: Path) -> Iterator[Finding]:
    what = "文件夹 SURGATE_VAR_DIR"
    if not folder.exists():
        parent = next(p for p in (*folder.resolve().parents,) if p.exists())
        state: Literal["note", "wrong"] = "note" if os.access(parent, os.W_OK) else "wrong"
        yield Finding(
            state,
            what,
            f"{folder} 尚不存在 / is not there yet",
            "surgate serve 会创建 / is made by `surgate serve`" if state == "note" else f"chown {parent}",
        )
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("wrong", what, f"{folder} 不可写 / is not writable", f"chown $(id -u) {folder}")
        return
    yield Finding("good", what, str(folder.resolve()))
    free = shutil.disk_usage(folder).free
    yield Finding(
        "good" if free >= MIN_FREE_BYTES else "wrong",
        "磁盘空间 free space",
        f"{free / (1 << 30):.1f} GiB",
        "" if free >= MIN_FREE_BYTES else "腾出空间，否则决定无法记录 / make room: what cannot be recorded is not answered",
    )


def _store_file(settings: Settings) -> Iterator[Finding]:
    path = _path(settings)
    if not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077 and path.resolve().parent.stat().st_mode & 0o077:
        yield Finding("wrong", "数据库文件权限 the store's permissions", f"{path} {mode:o}", f"chmod 600 {path}")
    kind = _file_system(path.resolve())
    if kind in NETWORK_FILE_SYSTEMS:
        told = f"{path} 位于网络文件系统 {kind} / is on a network file system"
        yield Finding("wrong", "数据库位置 the store's place", told, "放到本机磁盘 / WAL needs a disk of this machine: set SURGATE_VAR_DIR")


def _seal_key(settings: Settings) -> Iterator[Finding]:
    what = "签封密钥 seal key"
    path = settings.seal_key
    if not path.exists():
        yield Finding("note", what, f"{path} 尚不存在 / is not there yet", "surgate serve 或 surgate migrate 会创建 / makes it")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding("wrong", what, f"{path} {mode:o}", f"chmod 600 {path}")
    try:
        yield Finding("good", what, f"指纹 fingerprint {KeyFile(path).current().fingerprint}")
    except SealKeyUnusable as error:
        yield Finding("wrong", what, str(error), "从备份恢复该文件 / restore the file from its backup")


def _snapshot(settings: Settings) -> Iterator[Finding]:
    """What the service could start from, and would go on by, without the database."""
    what = "快照 snapshot"
    folder = settings.snapshot_folder
    mend = "surgate serve 会写入 / `surgate serve` writes it while the database is there"
    found = Snapshot(folder).survey()
    yield from (Finding("wrong", what, f"{folder}: {refused}", mend) for refused in found.refused)
    if not found.as_of:
        yield Finding("note", what, f"{folder} 中没有 / there is none", mend)
        return
    hours = (datetime.now(UTC) - min(found.as_of.values())).total_seconds() / 3600
    told = f"{', '.join(found.as_of)}: {hours:.1f} h"
    yield Finding("good", what, told) if hours <= settings.snapshot_max_hours else Finding("note", what, told, mend)


def _path(settings: Settings) -> Path:
    """The file of the embedded store."""
    return Path(settings.database.removeprefix(SQLITE))


def _file_system(path: Path) -> str:
    """The kind of the file system that a path is on, empty where that cannot be told."""
    mounts = Path("/proc/self/mounts")
    best, kind = "", ""
    for line in mounts.read_text(encoding="utf-8").splitlines() if mounts.exists() else ():
        point, found = line.split()[1:3]
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, found
    return kind


def _limits() -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = soft >= MIN_OPEN_FILES or soft == resource.RLIM_INFINITY
    yield Finding("good" if enough else "wrong", "打开文件上限 open files", str(soft), "" if enough else f"ulimit -n {MIN_OPEN_FILES * 8}")
    yield Finding("good", "SQLite", sqlite3.sqlite_version)


async def _file(settings: Settings) -> list[Finding]:
    """The embedded store."""
    path = _path(settings).resolve()
    if not path.exists():
        return [_missing(_STORE, path.parent, is_var_dir=path.parent == settings.var_dir.resolve())]
    mend = "检查文件与权限；文件损坏时从备份恢复 / look at the file and its permissions; restore a damaged one"
    return await _reached(settings, mend, _content)


async def _server(settings: Settings) -> list[Finding]:
    """PostgreSQL."""

    async def look(settings: Settings, connection: AsyncConnection) -> list[Finding]:
        return [*await examine_server(settings, connection), *await _content(settings, connection)]

    mend = "检查服务器、网络、用户与密码 / look at the server, the network, the user and the password"
    return await _reached(settings, mend, look)


async def _reached(settings: Settings, mend: str, look: Callable[[Settings, AsyncConnection], Awaitable[list[Finding]]]) -> list[Finding]:
    database = Database(settings.database, limits=limits_of(settings))
    try:
        async with database.read() as connection:
            return [Finding("good", _STORE, "可达 / reachable"), *await look(settings, connection)]
    except AWAY as error:
        return [Finding("wrong", _STORE, f"{type(error).__name__}: {getattr(error, 'orig', error)}", mend)]
    finally:
        await database.close()


def _missing(what: str, folder: Path, *, is_var_dir: bool) -> Finding:
    """A store that is not there yet. Its folder is made with it only where that is the service's own."""
    if is_var_dir or os.access(folder, os.W_OK | os.X_OK):
        made = "surgate serve 或 surgate migrate 会创建 / is made by `surgate serve` or `surgate migrate`"
        return Finding("note", what, "尚不存在 / is not there yet", made)
    told = f"无法创建，文件夹 {folder} 不存在或不可写 / cannot be made: the folder is not there, or not writable"
    return Finding("wrong", what, told, f"mkdir -p {folder} && chown $(id -u) {folder}")


async def _content(settings: Settings, connection: AsyncConnection) -> list[Finding]:
    current = await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())
    if current != newest():
        return [Finding("wrong", "表结构 tables", f"{current or '无 none'}, 应为 should be {newest()}", "surgate migrate")]
    findings = [Finding("good", "表结构 tables", current or "")]
    codes = await hospitals.codes(connection)
    mend = "surgate import PACK_DIR, 或 or SURGATE_DEMO=1 surgate serve"
    findings.append(Finding("good", "医院 hospitals", ", ".join(codes)) if codes else Finding("wrong", "医院 hospitals", "无 none", mend))
    live = [key for key in await keys.load(connection) if key.revoked_at is None]
    findings.append(
        Finding("good", "密钥 keys", str(len(live))) if live else Finding("wrong", "密钥 keys", "无 none", "surgate keys create")
    )
    findings += _demo_keys(settings, live)
    count = (await connection.execute(select(func.count()).select_from(tables.decisions))).scalar()
    findings.append(Finding("good", "决定 decisions recorded", str(count)))
    findings += await _notifications(connection, codes)
    return findings


async def _notifications(connection: AsyncConnection, codes: Sequence[str]) -> list[Finding]:
    """Whom overrides are told, and what was not told."""
    findings = []
    names = {"office": "工作时间 office hours", "duty": "值班时间 duty hours"}
    for code, settings in (await hospitals.settings(connection)).items():
        silent = ", ".join(names[hours] for hours in hours_without(settings))
        what = f"越级通知 targets of notifications, {code}"
        mend = "在 hospital.toml 的 [[notify]] 中补上 / add a [[notify]] to hospital.toml"
        findings.append(
            Finding("note", what, f"无人接收 nobody is told: {silent}", mend) if silent else Finding("good", what, "齐全 complete")
        )
    counts = await outbox.counts(connection)
    for code in codes:
        what, dead = f"未送达通知 dead notifications, {code}", counts.get((code, "dead"), 0)
        mend = "GET /v1/notifications?state=dead, POST /v1/notifications/{id}/retry"
        findings += [Finding("wrong", what, str(dead), mend)] if dead else []
    return findings


def _demo_keys(settings: Settings, live: list[keys.Key]) -> Iterator[Finding]:
    what = "演示密钥 demo keys"
    demo = [key for key in live if key.is_demo]
    if demo and not settings.loopback:
        yield Finding("wrong", what, f"{len(demo)}, 而服务对外 / and the service is reachable", "surgate keys revoke --demo")
    file = settings.demo_keys_file
    if not file.exists():
        return
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        yield Finding("wrong", what, f"{file} {mode:o}", f"chmod 600 {file}")
    try:
        texts = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        texts = {}
    by_id = {key.id: key for key in demo}
    opening = [
        role for role, text in texts.items() if (sent := keys.split(text)) and sent[0] in by_id and by_id[sent[0]].opens_with(sent[1])
    ]
    stale = len(texts) - len(opening)
    told = f"{file}: {len(opening)} 个有效 valid" + (f", {stale} 个失效 stale" if stale else "")
    yield Finding(
        "note" if stale or not texts else "good",
        what,
        told,
        "SURGATE_DEMO=1 surgate serve 会更新 / renews them" if stale or not texts else "",
    )


def _listening(settings: Settings) -> Iterator[Finding]:
    what = f"端口 {settings.host}:{settings.port}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 — what to ask, not what to listen on
    try:
        with socket.create_connection((host, settings.port), timeout=2):
            pass
    except OSError:
        yield Finding("note", what, "无服务 / nobody listens", "surgate serve")
        return
    ready, told = _ask(host, settings.port)
    mend = "换 SURGATE_PORT，或停掉占用者 / another SURGATE_PORT, or stop who holds it"
    yield Finding("good", what, told) if ready else Finding("wrong", what, told, mend)


def _ask(host: str, port: int) -> tuple[bool, str]:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        alive = answer.status == http.HTTPStatus.OK and answer.read() == b'{"status":"ok"}'
    except (OSError, http.client.HTTPException) as error:
        return False, f"没有回答 / does not answer: {type(error).__name__}"
    finally:
        connection.close()
    return alive, "Surgate 在服务 / is served" if alive else "被其他程序占用 / another program is there"

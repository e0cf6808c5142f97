"""What is made ready before the first worker starts: the folder, the tables, and for a demo its hospital and its keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from app.audit.keyfile import SealKeyUnusable
from app.audit.store import introduce, open_store
from app.cache.snapshot import Snapshot
from app.errors import SurgateError
from app.serving.demo import DEMO_HOSPITAL, keep_demo_keys, read_demo_keys, refuse_demo, refuse_demo_keys
from app.settings import Settings
from app.store import hospitals
from app.store.database import AWAY, Database
from app.store.migrate import migrate
from app.store.reach import AT_START_SECONDS, within


class NotPrepared(SurgateError):
    """The service cannot be started; the text says why."""


class Prepared(NamedTuple):
    """What is there: the hospitals' codes, and the demo keys by role (empty where it is no demo). `as_of`: since when nothing is known, where the
    database is away and the service starts from the snapshot."""

    hospitals: tuple[str, ...]
    demo_keys: dict[str, str]
    as_of: datetime | None = None


async def prepare(settings: Settings, tell: Callable[[str], None]) -> Prepared:
    """Make everything ready; done again it changes nothing.

    Raises:
        NotPrepared: the folder or the store cannot be used, and there is no snapshot to start from.
        DemoKeysReachable: demo keys are there, and others could reach them.
    """
    try:
        settings.var_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _empty(settings)
    except OSError as error:
        raise NotPrepared(f"SURGATE_VAR_DIR: {error}") from None
    database, heads = open_store(settings)
    try:
        try:
            await within(AT_START_SECONDS, _ask(database))
        except AWAY as error:
            return await asyncio.to_thread(_without_database, settings, error, tell)
        await migrate(database)
        await introduce(database, heads.key_file.current())
        return await _prepare(settings, database, tell)
    except SealKeyUnusable as error:
        raise NotPrepared(str(error)) from None
    except AWAY as error:
        raise NotPrepared(_unreachable(error)) from None
    finally:
        await database.close()


async def _prepare(settings: Settings, database: Database, tell: Callable[[str], None]) -> Prepared:
    if settings.demo and not await _codes(database):
        # Loaded where it is wanted: a supervisor lives long and needs it once, if ever.
        from app.imports.pack import import_pack
        from app.packs.load import SHIPPED_PACKS

        tell(f"导入演示医院 importing the demo hospital {DEMO_HOSPITAL} …")
        await import_pack(database, SHIPPED_PACKS / DEMO_HOSPITAL, by="surgate serve")
    demo = await keep_demo_keys(database, settings.demo_keys_file) if settings.demo else {}
    if not settings.loopback:
        await refuse_demo_keys(database)
    return Prepared(tuple(await _codes(database)), demo)


def _without_database(settings: Settings, error: BaseException, tell: Callable[[str], None]) -> Prepared:
    """What the snapshot holds. What the database would need (its tables brought up to date, demo keys) is left until a start that finds it."""
    found = Snapshot(settings.snapshot_folder).survey()
    for refused in found.refused:
        tell(f"快照文件不可用 / a file of the snapshot is refused: {refused}")
    if not found.as_of:
        raise NotPrepared(f"{_unreachable(error)}; 也没有可用的快照 / and no snapshot to start from in {settings.snapshot_folder}")
    if not settings.loopback:
        refuse_demo(found.keys)
    as_of = min(found.as_of.values())
    told = as_of.astimezone().isoformat(timespec="seconds")
    tell(f"数据库无法访问，按 {told} 的快照启动 / the database is away: starting from the snapshot of {told}. {_unreachable(error)}")
    return Prepared(tuple(found.as_of), read_demo_keys(settings.demo_keys_file) if settings.demo else {}, as_of)


def _unreachable(error: BaseException) -> str:
    return f"SURGATE_DATABASE_URL: {type(error).__name__}: {getattr(error, 'orig', error)}"


async def _ask(database: Database) -> None:
    async with database.read() as connection:
        await connection.execute(text("SELECT 1"))


async def _codes(database: Database) -> list[str]:
    async with database.read() as connection:
        return await hospitals.codes(connection)


def _empty(settings: Settings) -> None:
    """Counters begin at zero with the service."""
    settings.metrics_folder.mkdir(exist_ok=True, mode=0o700)
    for file in settings.metrics_folder.iterdir():
        file.unlink()

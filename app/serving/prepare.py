"""What is made ready before the first worker starts: the folder, the tables, and for a demo its hospital and its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from app.audit.keyfile import SealKeyUnusable
from app.audit.store import introduce, open_store
from app.errors import SurgateError
from app.imports.pack import import_pack
from app.packs.load import SHIPPED_PACKS
from app.serving.demo import DEMO_HOSPITAL, keep_demo_keys, refuse_demo_keys
from app.settings import Settings
from app.store import hospitals
from app.store.database import Database
from app.store.migrate import migrate


class NotPrepared(SurgateError):
    """The service cannot be started; the text says why."""


class Prepared(NamedTuple):
    """What is there: the hospitals' codes, and the demo keys by role (empty where it is no demo)."""

    hospitals: tuple[str, ...]
    demo_keys: dict[str, str]


async def prepare(settings: Settings, tell: Callable[[str], None]) -> Prepared:
    """Make everything ready; done again it changes nothing.

    Raises:
        NotPrepared: the folder or the store cannot be used.
        DemoKeysReachable: demo keys are there, and others could reach them.
    """
    try:
        settings.var_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        _empty(settings)
    except OSError as error:
        raise NotPrepared(f"SURGATE_VAR_DIR: {error}") from None
    database, heads = open_store(settings)
    try:
        await migrate(database)
        await introduce(database, heads.key_file.current())
        return await _prepare(settings, database, tell)
    except SealKeyUnusable as error:
        raise NotPrepared(str(error)) from None
    except (SQLAlchemyError, OSError) as error:
        raise NotPrepared(f"SURGATE_DATABASE_URL: {type(error).__name__}: {getattr(error, 'orig', error)}") from None
    finally:
        await database.close()


async def _prepare(settings: Settings, database: Database, tell: Callable[[str], None]) -> Prepared:
    if settings.demo and not await _codes(database):
        tell(f"导入演示医院 importing the demo hospital {DEMO_HOSPITAL} …")
        await import_pack(database, SHIPPED_PACKS / DEMO_HOSPITAL, by="surgate serve")
    demo = await keep_demo_keys(database, settings.demo_keys_file) if settings.demo else {}
    if not settings.loopback:
        await refuse_demo_keys(database)
    return Prepared(tuple(await _codes(database)), demo)


async def _codes(database: Database) -> list[str]:
    async with database.read() as connection:
        return await hospitals.codes(connection)


def _empty(settings: Settings) -> None:
    """Counters begin at zero with the service."""
    settings.metrics_folder.mkdir(exist_ok=True, mode=0o700)
    for file in settings.metrics_folder.iterdir():
        file.unlink()

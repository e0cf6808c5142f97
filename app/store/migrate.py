"""Bringing a database's tables up to date with Alembic."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.shipped import shipped
from app.store import partitions
from app.store.database import Database

MIGRATIONS = shipped("migrations")


async def migrate(database: Database) -> None:
    """Apply every migration that the database does not have yet."""
    async with database.write("migrate") as connection:
        await connection.run_sync(_upgrade)
        await partitions.make(connection)


def newest() -> str:
    """The revision that a database has when every migration is applied."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert head is not None
    return head


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")

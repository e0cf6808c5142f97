"""`surgate migrate`, `surgate import`: the store's tables, and hospitals into it."""

from __future__ import annotations

from pathlib import Path

import click

from app.audit.keyfile import KeyFile
from app.audit.store import introduce
from app.cli.common import failure, pack_failure, progress_line, settings_of_environment, with_store
from app.imports.pack import ImportResult, import_pack
from app.imports.run import NeedsConfirmation
from app.imports.steps import Mode
from app.packs.problems import PackError
from app.store.database import Database
from app.store.migrate import migrate


async def _migrate(database: Database) -> None:
    """The tables, and the public part of the key that seals what is written to them."""
    await migrate(database)
    await introduce(database, KeyFile(settings_of_environment().seal_key).current())


@click.command(name="migrate")
def migrate_command() -> None:
    """Bring the store's tables up to date; done again it changes nothing."""
    with_store(_migrate)
    click.echo("数据库已是最新 / the store is up to date")


@click.command(name="import")
@click.argument("pack", metavar="PACK_DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only say what it would change.")
@click.option(
    "--mode", type=click.Choice([mode.value for mode in Mode]), default=Mode.MERGE.value, help="replace also retires what is absent."
)
@click.option("--confirm", is_flag=True, help="Also do what loosens: it is listed, and refused without this.")
def import_command(pack: Path, dry_run: bool, mode: str, confirm: bool) -> None:
    """Import a hospital's pack, all or nothing; a hospital that is not there yet is made."""

    async def run(database: Database) -> ImportResult:
        await _migrate(database)
        with progress_line() as progress:
            return await import_pack(database, pack, dry_run, mode=Mode(mode), confirm=confirm, progress=progress)

    try:
        result = with_store(run)
    except PackError as error:
        raise pack_failure(error) from None
    except NeedsConfirmation as error:
        raise failure(f"{error}\n加上 --confirm 以确认 / add --confirm to confirm") from None
    for warning in result.warnings:
        click.echo(f"注意 note: {warning}")
    done = f"已导入 imported, 版本 version {result.version}" if result.applied else "试运行，未改动 dry run, nothing was changed"
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    click.echo(f"{result.name}（{result.hospital}）{'新建 new ' if result.made else ''}{counts}; {done}")

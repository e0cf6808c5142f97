"""`surgate journal`: what waits on this machine for the database, and bringing it there by hand."""

from __future__ import annotations

import sys
from typing import NamedTuple

import click
import msgspec

from app.audit.store import Proven
from app.cli.common import EXIT_WRONG, failure, settings_of_environment, with_proven
from app.settings import Settings
from app.store.breaker import Breaker
from app.store.decided import Record
from app.store.journal import Journal, read_journal, refused_files
from app.store.journal_drain import Busy, Drain


class Waiting(NamedTuple):
    """A decision in the journal, as it is shown: no patient is named."""

    id: str
    at: str
    hospital: str
    client: str
    request_id: str
    case_id: str
    checkpoint: str
    decision: str
    override: bool


class Shown(msgspec.Struct, frozen=True):
    """What `surgate journal show` says."""

    folder: str
    waiting: tuple[dict[str, object], ...]
    unreadable: int
    refused: tuple[str, ...]


@click.group()
def journal() -> None:
    """Decisions of this machine that wait for the database: show, replay."""


@journal.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def show(as_json: bool) -> None:
    """List what is in the journal, oldest first, and what was set aside. Exits with 1 where anything was set aside or cannot be read.

    What a drain has just brought into the database is listed until its file is let go.
    """
    folder = settings_of_environment().journal_folder
    try:
        content = read_journal(folder)
        refused = tuple(path.name for path in refused_files(folder))
    except OSError as error:
        raise failure(f"{folder}: {error.strerror}", EXIT_WRONG) from None
    shown = Shown(str(folder), tuple(_waiting(record)._asdict() for record in content.records), content.unreadable, refused)
    click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2) if as_json else _told(shown))
    sys.exit(EXIT_WRONG if refused or content.unreadable else 0)


@journal.command()
@click.option("--refused", is_flag=True, help="Also offer the database once more what it has refused.")
def replay(refused: bool) -> None:
    """Bring what waits into the database now. A running service does so by itself; one that is stopped leaves it to this or to its next start."""
    settings = settings_of_environment()

    async def run(store: Proven) -> tuple[int, int]:
        return await _replay(settings, store, refused=refused)

    try:
        drained, taken = with_proven(settings, run)
    except Busy:
        raise failure("正在运行的服务正在写入 / a running service is at it: surgate journal show", EXIT_WRONG) from None
    except OSError as error:
        raise failure(f"{settings.journal_folder}: {error}", EXIT_WRONG) from None
    click.echo(f"已写入数据库 brought into the database: {drained + taken}")
    left = refused_files(settings.journal_folder)
    if left:
        raise failure(f"被拒 refused: {len(left)}, {left[0].parent}", EXIT_WRONG)


async def _replay(settings: Settings, store: Proven, *, refused: bool) -> tuple[int, int]:
    node = Journal(settings.journal_folder)
    await node.open()
    drain = Drain(node, store.database, Breaker(store.database, settings.reach_seconds))
    try:
        return await drain.run(), await drain.retry_refused() if refused else 0
    finally:
        await drain.stop()
        await node.close()


def _waiting(record: Record) -> Waiting:
    key = record.key
    return Waiting(
        record.id,
        record.at,
        key.hospital,
        key.client,
        key.request_id,
        record.case_id,
        record.checkpoint,
        record.decision,
        record.opening is not None,
    )


def _told(shown: Shown) -> str:
    lines = [
        f"{one['at']}  {one['hospital']}  {one['client']} {one['request_id']}  {one['checkpoint']} {one['decision']}  {one['id']}"
        for one in shown.waiting
    ]
    lines += [f"  ✗ refused/{name}" for name in shown.refused]
    counts = f"待写入 waiting {len(shown.waiting)}, 被拒 refused {len(shown.refused)}, 无法读取 unreadable {shown.unreadable}"
    return "\n".join([*lines, f"{shown.folder}: {counts}"])

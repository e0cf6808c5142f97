"""`surgate audit`: is the record whole; the record as a file; its key; its archives."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

import click
import msgspec

from app.audit import archive as archives
from app.audit import record_file
from app.audit.findings import AuditFinding, Verification
from app.audit.record_file import Range
from app.audit.rotate import rotate
from app.audit.seal import SealKey
from app.audit.store import Proven
from app.audit.verify import Outside, hospitals_known, verify
from app.audit.workbook import write_workbook
from app.cli.common import EXIT_WRONG, failure, settings_of_environment, with_proven
from app.store import record
from app.store.database import Database
from app.store.hospitals import time_zone
from app.store.keys import Key

BY = "cli"

_hospital = click.option("--hospital", required=True, metavar="CODE", help="The hospital whose record it is.")


@click.group()
def audit() -> None:
    """The record: verify, export, archive; rotate the key that seals it."""


@audit.command(name="verify")
@click.option("--hospital", metavar="CODE", help="Only one hospital's record.")
@click.option(
    "--trust", "trusted", multiple=True, metavar="FINGERPRINT", help="Fingerprint of a key that is trusted; may be given several times."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
def verify_command(hospital: str | None, trusted: Sequence[str], as_json: bool) -> None:
    """Say whether the record is whole, and where it is not. Exits with 1 where anything was found."""
    settings = settings_of_environment()

    async def run(store: Proven) -> list[Verification]:
        outside = Outside(store.heads, settings.archives_folder, trusted)
        known = await hospitals_known(store.database, store.heads)
        if hospital is not None and hospital not in known:
            raise failure(f"没有医院 / no hospital {hospital}")
        return [await verify(store.database, outside, code) for code in ([hospital] if hospital else known)]

    reports = with_proven(settings, run)
    click.echo(msgspec.json.format(msgspec.json.encode(reports), indent=2) if as_json else "\n".join(map(_told, reports)))
    sys.exit(0 if all(report.whole for report in reports) else EXIT_WRONG)


@audit.command()
@_hospital
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The file to write; it must not exist.")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "xlsx"]), default="jsonl", help="jsonl: the proof; xlsx: for people, with it."
)
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="From this day on.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Up to the end of this day.")
def export(hospital: str, out: Path, form: str, since: datetime | None, until: datetime | None) -> None:
    """Write a hospital's record, with all that is needed to verify it without the database. The export is itself recorded."""

    async def run(store: Proven) -> Range:
        async with store.database.read() as connection:
            await record_file.hospital_name(connection, hospital)
            zone = await time_zone(connection, hospital)
            begin, end = _begin_of(since, zone, 0), _begin_of(until, zone, 1)
            chosen = await record_file.choose(connection, store.heads, hospital, begin, end)
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            if form == "xlsx":
                await write_workbook(store.database, chosen, zone, stream)
            else:
                await _write_lines(store.database, chosen, stream)
        async with store.database.write(None) as connection:
            await record.note_read(connection, _operator(hospital), "export", record_file.subject(chosen, form), [])
        return chosen

    try:
        chosen = with_proven(settings_of_environment(), run)
    except OSError as error:
        raise failure(f"--out: {error}") from None
    click.echo(f"{out}: #{chosen.first}–#{chosen.last}，由密钥签封 sealed by key {chosen.seal.key if chosen.seal else '-'}")


@audit.command()
def verifier() -> None:
    """Print the program that verifies exports and archives anywhere with nothing but Python."""
    click.echo((resources.files("app.audit") / "verify_record.py").read_text(encoding="utf-8"), nl=False)


@audit.command(name="rotate-key")
def rotate_key() -> None:
    """Make a new key for the seals, which the present one vouches for. The present one is gone afterwards."""
    settings = settings_of_environment()

    async def run(store: Proven) -> SealKey:
        database = Database(settings.database)
        try:
            return await rotate(database, store.heads, BY)
        finally:
            await database.close()

    click.echo(f"新密钥 new key {with_proven(settings, run).fingerprint}")


@audit.command(name="archive")
@_hospital
@click.option(
    "--before", required=True, type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="Archive what was recorded before this day."
)
def archive_command(hospital: str, before: datetime) -> None:
    """Move the oldest part of the record into verified files. Nothing younger than a year can be archived."""
    settings = settings_of_environment()

    async def run(store: Proven) -> list[archives.Archived]:
        return await archives.archive(store, settings.archives_folder, hospital, before.date(), BY)

    _tell_archives("已归档 archived", with_proven(settings, run))


@audit.command()
@_hospital
def purge(hospital: str) -> None:
    """Delete archives whose newest record is past the hospital's retention. Each deletion is itself recorded."""
    settings = settings_of_environment()

    async def run(store: Proven) -> list[archives.Archived]:
        return await archives.purge(store.database, settings.archives_folder, hospital, BY)

    _tell_archives("已删除 purged", with_proven(settings, run))


async def _write_lines(database: Database, chosen: Range, out: BinaryIO) -> None:
    async for piece in record_file.pieces(database, chosen):
        out.write(piece.line)
    await asyncio.to_thread(os.fsync, out.fileno())


def _begin_of(day: date | None, zone: ZoneInfo, later: int) -> str | None:
    if day is None:
        return None
    begin = datetime.combine(day, time(), zone) + timedelta(days=later)
    return begin.astimezone(UTC).isoformat(timespec="microseconds")


def _operator(hospital: str) -> Key:
    """Who reads on the command line: whoever may use this machine's store; there is no key."""
    return Key(id="", hospital=hospital, client=BY, roles=frozenset(), staff=None, created_at="", revoked_at=None, salt=b"", hash=b"")


def _tell_archives(what: str, made: Sequence[archives.Archived]) -> None:
    for one in made:
        click.echo(f"{what} {one.file} #{one.first}–#{one.last}")
    if not made:
        click.echo("没有可处理的记录 / nothing to do")


def _told(report: Verification) -> str:
    lines = [_finding(finding) for finding in report.findings]
    if report.more:
        lines.append(f"  … 另有 {report.more} 处 / and {report.more} more")
    state = "完整 whole" if report.whole else "不完整 NOT WHOLE"
    summary = f"{report.entries} 条 entries #{report.first or 0}–#{report.last or 0}, 签封至 sealed until #{report.sealed_until}"
    keys = [f"  密钥 key {key.key} {key.since}{'' if key.counts else ' 不受信任 not trusted'}" for key in report.keys]
    return "\n".join([f"{report.hospital}: {state}, {summary}", f"  末条哈希 last hash {report.head.hash}", *keys, *lines])


def _finding(finding: AuditFinding) -> str:
    place = finding.place
    numbers = "" if place.number is None else f"#{place.number}" + ("" if place.last == place.number else f"–#{place.last}")
    where = " ".join(part for part in (numbers, place.kind, place.ref) if part)
    return f"  ✗ {where or '-'} {finding.what}: {finding.message.zh} {finding.message.en}"

"""What the commands share: the settings, the store, failures that say what is wrong."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
from sqlalchemy.exc import SQLAlchemyError

from app.audit.store import Proven, open_store
from app.errors import SurgateError
from app.packs.load import Pack, load_pack
from app.packs.problems import PackError
from app.settings import BadSettings, Settings, read_settings
from app.store.database import Database

EXIT_BAD_INPUT = 2
EXIT_WRONG = 1

_Result = TypeVar("_Result")


def failure(message: str, code: int = EXIT_BAD_INPUT) -> SystemExit:
    """The exit for what is wrong, which is told on the standard error."""
    click.echo(message, err=True)
    return SystemExit(code)


def settings_of_environment() -> Settings:
    """The settings; an unknown or malformed one ends the command."""
    try:
        return read_settings(dict(os.environ))
    except BadSettings as error:
        raise failure(str(error)) from None


def with_store(use: Callable[[Database], Awaitable[_Result]]) -> _Result:
    """Do something with the store of the settings. What it refuses ends the command with its text."""
    return with_proven(settings_of_environment(), lambda store: use(store.database))


def with_proven(settings: Settings, use: Callable[[Proven], Awaitable[_Result]]) -> _Result:
    """As `with_store`, together with the heads of its chains."""
    try:
        settings.var_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise failure(f"SURGATE_VAR_DIR: {error}", EXIT_WRONG) from None

    async def run() -> _Result:
        store = open_store(settings)
        try:
            return await use(store)
        finally:
            await store.database.close()

    try:
        return asyncio.run(run())
    except SQLAlchemyError as error:
        reason = f"{type(error).__name__}: {getattr(error, 'orig', '')}"
        raise failure(f"无法使用数据库 / the store cannot be used: {reason} (surgate doctor)", EXIT_WRONG) from None
    except SurgateError as error:
        raise failure(str(error), EXIT_WRONG) from None


def read_pack(folder: Path) -> Pack:
    """The pack in a folder; every problem is told, with the exit for bad input, where it cannot be read."""
    with progress_line() as progress:
        try:
            return load_pack(folder, progress=progress)
        except PackError as error:
            raise pack_failure(error) from None


def pack_failure(error: PackError) -> SystemExit:
    """The exit for a pack that cannot be read, every problem told."""
    count = len(error.problems)
    summary = f"共 {count} 处问题，没有载入 / {count} problem(s), nothing was loaded"
    return failure("\n".join([*(str(problem) for problem in error.problems), summary]))


@contextmanager
def progress_line() -> Iterator[Callable[[str, int, int], None]]:
    """A line on a terminal that tells how far a large file is read; silent elsewhere."""
    shown = False

    def tell(what: str, done: int, total: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and total >= 10_000:
            shown = True
            click.echo(f"\r读取 reading {what}: {done:,} / {total:,}", err=True, nl=False)

    yield tell
    if shown:
        click.echo(err=True)

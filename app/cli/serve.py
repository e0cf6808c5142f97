"""`surgate serve`: everything that a service needs is made ready, then its workers run until it is told to stop."""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from app.cli.common import EXIT_WRONG, failure, settings_of_environment
from app.errors import SurgateError
from app.packs.problems import PackError
from app.serving.prepare import Prepared, prepare
from app.serving.sockets import PortTaken, listen
from app.serving.supervisor import NotStarted, Supervisor
from app.settings import Settings
from app.shipped import shipped
from app.telemetry.logs import configure

EXAMPLE = "example-order.json"


@click.command()
def serve() -> None:
    """Serve the gateway until SIGTERM or SIGINT.

    The settings are variables with the prefix SURGATE_ (`surgate doctor` names them all). The store is brought up to date; with SURGATE_DEMO=1 an empty one
    gets the demo hospital, and VAR_DIR/demo-keys.json a key for each role.
    """
    settings = settings_of_environment()
    try:
        with ExitStack() as stack:
            listeners = [stack.enter_context(listener) for listener in listen(settings.host, settings.port, settings.workers)]
            prepared = asyncio.run(prepare(settings, click.echo))
            configure(settings.log_level)
            asyncio.run(Supervisor(settings, listeners).run(lambda: _announce(settings, prepared)))
    except PortTaken as error:
        raise failure(f"SURGATE_HOST, SURGATE_PORT: 无法监听 / cannot listen: {error}", EXIT_WRONG) from None
    except (SurgateError, PackError, NotStarted) as error:
        raise failure(f"未能启动 / not started: {error}", EXIT_WRONG) from None


def _announce(settings: Settings, prepared: Prepared) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    click.echo(
        f"Surgate: {url}  文档 docs {url}/docs  医院 hospitals {', '.join(prepared.hospitals) or '-'}  进程 workers {settings.workers}"
    )
    if prepared.as_of is not None:
        click.echo(
            f"数据库恢复前按快照核查 / until the database is back checks are judged by the snapshot: {prepared.as_of.isoformat(timespec='seconds')}"
        )
    if not prepared.hospitals:
        click.echo("库中还没有医院 / there is no hospital yet: surgate import PACK_DIR")
    if prepared.demo_keys:
        click.echo(f"演示密钥 demo keys: {settings.demo_keys_file}")
        click.echo("试一试 try it:\n")
        click.echo(f"curl -sS {url}/v1/check -H 'Authorization: Bearer {prepared.demo_keys['his']}' {_EXAMPLE_OPTIONS}\n")
    sys.stdout.flush()


def _example() -> Path:
    here = Path("docs", EXAMPLE)
    return here if here.is_file() else shipped("docs") / EXAMPLE


_EXAMPLE_OPTIONS = f"-H 'Content-Type: application/json' --data-binary '@{_example()}'"

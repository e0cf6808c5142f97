"""`surgate doctor`: every setting with its value and where it comes from, what is reachable, what is wrong and how to mend it."""

from __future__ import annotations

import asyncio
import os
import sys

import click

from app.cli.common import EXIT_WRONG
from app.serving.checkup import examine
from app.serving.findings import Finding
from app.settings import PREFIX, BadSettings, Settings, read_settings

_MARKS = {"good": "✓", "note": "–", "wrong": "✗"}


@click.command()
def doctor() -> None:
    """Say what is configured, reachable and healthy. Exits with 1 where something is wrong."""
    environment = dict(os.environ)
    try:
        settings = read_settings(environment)
    except BadSettings as error:
        _settings(Settings(), environment)
        findings = [
            Finding("wrong", "设置 settings", line, "改正或取消该变量 / correct or unset the variable") for line in str(error).splitlines()
        ]
    else:
        _settings(settings, environment)
        findings = asyncio.run(examine(settings))
    click.echo()
    for finding in findings:
        click.echo(f"{_MARKS[finding.state]} {finding.what}: {finding.told}")
        if finding.mend:
            click.echo(f"    → {finding.mend}")
    wrong = sum(finding.state == "wrong" for finding in findings)
    click.echo(f"\n{wrong} 处有问题 / {wrong} wrong" if wrong else "\n一切正常 / all is well")
    sys.exit(EXIT_WRONG if wrong else 0)


def _settings(settings: Settings, environment: dict[str, str]) -> None:
    """The table of settings. A value of the environment is shown as it was given, also where it is refused."""
    for name, field in type(settings).model_fields.items():
        variable = f"{PREFIX}{name.upper()}"
        given = environment.get(variable)
        value = getattr(settings, name) if given is None else given
        source = "default" if given is None else "environment"
        click.echo(f"{variable:<32} {_shown(value):<36} {source:<12} {field.description}")


def _shown(value: object) -> str:
    """A value as it may be shown: never a database's password."""
    text = {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    head, at, tail = text.rpartition("@")
    scheme, _, user = head.partition("://")
    return f"{scheme}://{user.partition(':')[0]}:…@{tail}" if at and ":" in user else text or '""'

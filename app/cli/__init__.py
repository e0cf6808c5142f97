"""The command line `surgate`: one module per group of commands."""

from __future__ import annotations

import os
import signal
from importlib import import_module
from types import FrameType

import click

PRIVATE = 0o077
"""What is taken from the mode of every file that is made: the store and what is exported from it name patients."""

COMMANDS = {
    "serve": "serve.serve",
    "check": "orders.check",
    "explain": "orders.explain_command",
    "validate": "orders.validate",
    "import": "store.import_command",
    "migrate": "store.migrate_command",
    "keys": "keys.keys",
    "audit": "audit.audit",
    "journal": "journal.journal",
    "doctor": "doctor.doctor",
}
"""Where each command is, below this package."""


class _Commands(click.Group):
    """Loads a command when it is asked for: the supervisor of a service, which lives as long as that does, has no use for what the others need."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(".")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="surgate")
def main() -> None:
    """Surgate: may this surgeon do this procedure?"""
    os.umask(PRIVATE)
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    """The first process of a container is stopped by nothing that it does not answer to."""
    raise SystemExit(128 + number)

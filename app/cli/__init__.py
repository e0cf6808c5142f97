"""The command line `surgate`: one module per group of commands."""

from __future__ import annotations

import os

import click

from app.cli.audit import audit
from app.cli.doctor import doctor
from app.cli.journal import journal
from app.cli.keys import keys
from app.cli.orders import check, explain_command, validate
from app.cli.serve import serve
from app.cli.store import import_command, migrate_command

PRIVATE = 0o077
"""What is taken from the mode of every file that is made: the store and what is exported from it name patients."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="surgate")
def main() -> None:
    """Surgate: may this surgeon do this procedure?"""
    os.umask(PRIVATE)


for command in (serve, check, explain_command, validate, import_command, migrate_command, keys, audit, journal, doctor):
    main.add_command(command)

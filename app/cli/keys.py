"""`surgate keys`: made, listed, revoked. A key is told once, when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from app.cli.common import failure, with_store
from app.errors import NotFound
from app.store import changes, hospitals, locks
from app.store import keys as store
from app.store.database import Database
from app.store.keys import Key, Role
from app.store.locks import Lock

BY = "cli"


@click.group()
def keys() -> None:
    """API keys: create, list, revoke."""


@keys.command()
@click.option("--hospital", required=True, metavar="CODE", help="The hospital that the key belongs to.")
@click.option(
    "--role", "roles", required=True, multiple=True, type=click.Choice([role.value for role in Role]), help="May be given several times."
)
@click.option(
    "--client",
    metavar="NAME",
    help="Whose key it is; a rotated key of the same client goes on where the old one was. By default the key's id.",
)
@click.option("--staff", metavar="NUMBER", help="The person that it is bound to.")
def create(hospital: str, roles: Sequence[str], client: str | None, staff: str | None) -> None:
    """Make a key. It is printed alone on the last line, and kept nowhere."""

    async def run(database: Database) -> tuple[Key, str]:
        async with database.write(hospital) as connection:
            await store.check_holder(connection, hospital, client, staff)
            key, text = await store.create(connection, hospital, [Role(role) for role in roles], client, staff)
            seq = await changes.append(connection, store.change_of(key, BY, "create"), datetime.now(UTC))
        await changes.in_force(database, seq)
        return key, text

    key, text = with_store(run)
    click.echo(_line(key))
    click.echo(text)


@keys.command(name="list")
@click.option("--hospital", metavar="CODE", help="Only those of one hospital.")
def list_command(hospital: str | None) -> None:
    """List the keys, oldest first; none of them gives the key away."""

    async def run(database: Database) -> list[Key]:
        async with database.read() as connection:
            if hospital is not None and hospital not in await hospitals.codes(connection):
                raise NotFound(f"没有医院 / no hospital {hospital}")
            return await store.load(connection, hospital)

    for key in with_store(run):
        click.echo(_line(key))


@keys.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--demo", is_flag=True, help="Revoke all demo keys.")
def revoke(ids: Sequence[str], demo: bool) -> None:
    """Revoke keys by their id (as `list` prints it). When this returns, no worker lets them in any more."""
    if not ids and not demo:
        raise failure("ID 或 --demo / which: ID or --demo")

    async def run(database: Database) -> list[Key]:
        async with database.write("keys") as connection:
            known = await store.load(connection)
            unknown = set(ids) - {key.id for key in known}
            if unknown:
                raise NotFound(f"没有密钥 / no key {', '.join(sorted(unknown))}; nothing was revoked")
            chosen = [key for key in known if key.id in ids or (demo and key.is_demo and key.revoked_at is None)]
            seq = 0
            await locks.take(connection, Lock.CHANGES)
            await locks.take(connection, Lock.CHAIN, {key.hospital for key in chosen})
            for key in chosen:
                await store.revoke(connection, key.hospital, key.id)
                seq = await changes.append(connection, store.change_of(key, BY, "revoke"), datetime.now(UTC))
        await changes.in_force(database, seq)
        return chosen

    for key in with_store(run):
        click.echo(f"已吊销 revoked {key.id} {key.client}")


def _line(key: Key) -> str:
    state = f"revoked {key.revoked_at}" if key.revoked_at else "active"
    return f"{key.id}  {key.hospital}  {key.client}  {','.join(sorted(key.roles))}  {key.staff or '-'}  {key.created_at}  {state}"

"""The demo: a hospital whose catalogs are real and whose people are made up, and a key for each role in a file that only its owner can read.

Demo keys are marked by their id. They exist only where nobody but this machine can reach the service.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from app.errors import SurgateError
from app.store import changes, hospitals, keys
from app.store.database import Database
from app.store.keys import DEMO, Key, Role

DEMO_HOSPITAL = "wahh"


class DemoKeysReachable(SurgateError):
    """The store holds demo keys, and the service would listen where others reach it."""


async def keep_demo_keys(database: Database, file: Path) -> dict[str, str]:
    """The demo keys by role: those of the file where they still open, new ones for the rest."""
    kept = read_demo_keys(file)
    async with database.write("demo") as connection:
        known = {key.id: key for key in await keys.load(connection)}
        demo = {role.value: kept[role.value] for role in Role if _opens(known, kept.get(role.value), role)}
        missing = [role for role in Role if role.value not in demo]
        if missing:
            hospital = await _demo_hospital(connection)
            for role in missing:
                _, demo[role.value] = await keys.create(connection, hospital, [role], f"{DEMO}-{role.value}", None, demo=True)
            change = changes.Change(hospital, "serve", "key", DEMO, "create", people=())
            await changes.append(connection, change, datetime.now(UTC))
    demo = {role.value: demo[role.value] for role in Role}
    _write(file, demo)
    return demo


async def refuse_demo_keys(database: Database) -> None:
    """Raises `DemoKeysReachable` where the store holds demo keys that still open."""
    async with database.read() as connection:
        refuse_demo(await keys.load(connection))


def refuse_demo(known: Iterable[Key]) -> None:
    """Raises `DemoKeysReachable` where demo keys that still open are among them."""
    left = [key for key in known if key.is_demo and key.revoked_at is None]
    if left:
        raise DemoKeysReachable(
            f"库中有 {len(left)} 个演示密钥，只能在本机地址上服务；用 surgate keys revoke --demo 吊销 / the store holds {len(left)} demo keys,"
            " which exist only on a loopback address: revoke them with `surgate keys revoke --demo`"
        )


def read_demo_keys(file: Path) -> dict[str, str]:
    """The demo keys by role as they were written, whether they open or not; none where there is no such file."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}


def _opens(known: dict[str, Key], text: str | None, role: Role) -> bool:
    sent = keys.split(text or "")
    key = known.get(sent[0]) if sent else None
    return key is not None and sent is not None and key.revoked_at is None and role in key.roles and key.opens_with(sent[1])


async def _demo_hospital(connection: AsyncConnection) -> str:
    codes = await hospitals.codes(connection)
    if not codes:
        raise SurgateError("库中没有医院 / the store has no hospital: surgate import PACK_DIR")
    return DEMO_HOSPITAL if DEMO_HOSPITAL in codes else codes[0]


def _write(file: Path, demo: dict[str, str]) -> None:
    """Put the file in place whole, readable by its owner only at every moment."""
    made = file.with_name(f".{file.name}.{os.getpid()}")
    made.unlink(missing_ok=True)
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(demo), indent=2) + b"\n")
    made.replace(file)

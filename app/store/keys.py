"""API keys: made once, kept as a salted hash, compared in constant time.

A key is `sg_<id>_<secret>`: the id finds its row, the secret is 256 random bits, so that one round of a salted hash is as hard to turn back
as many.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from datetime import UTC, datetime
from enum import StrEnum

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store import tables

PREFIX = "sg"
SECRET_BYTES = 32
SALT_BYTES = 16


class Role(StrEnum):
    """What a key may do; `admin` may do everything in its hospital."""

    HIS = "his"
    ANESTHESIA = "anesthesia"
    MEDICAL_AFFAIRS = "medical_affairs"
    OPS = "ops"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Key(msgspec.Struct, frozen=True):
    """A key as it is kept; nothing in it gives the key away."""

    id: str
    hospital: str
    client: str
    roles: frozenset[Role]
    staff: str | None
    created_at: str
    revoked_at: str | None
    salt: bytes
    hash: bytes

    def opens_with(self, secret: str) -> bool:
        """Whether that is its secret; takes as long whether it is or not."""
        return hmac.compare_digest(_hash(self.salt, secret), self.hash)


async def create(
    connection: AsyncConnection, hospital: str, roles: Collection[Role], client: str | None, staff: str | None
) -> tuple[Key, str]:
    """Make a key. The second value is the key itself, which is kept nowhere. Without a client's name its id is the client."""
    key_id, secret, salt = secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES), secrets.token_bytes(SALT_BYTES)
    key = Key(
        id=key_id,
        hospital=hospital,
        client=client or key_id,
        roles=frozenset(roles),
        staff=staff,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        revoked_at=None,
        salt=salt,
        hash=_hash(salt, secret),
    )
    row = {name: getattr(key, name) for name in Key.__struct_fields__}
    await connection.execute(tables.keys.insert(), row | {"roles": " ".join(sorted(key.roles))})
    return key, f"{PREFIX}_{key_id}_{secret}"


async def load(connection: AsyncConnection, hospital: str | None = None) -> list[Key]:
    """All keys, or a hospital's, revoked ones included, oldest first."""
    query = select(tables.keys).order_by(tables.keys.c.created_at, tables.keys.c.id)
    if hospital is not None:
        query = query.where(tables.keys.c.hospital == hospital)
    rows = (await connection.execute(query)).mappings()
    fields = Key.__struct_fields__
    return [msgspec.convert({name: row[name] for name in fields} | {"roles": row["roles"].split()}, Key) for row in rows]


async def revoke(connection: AsyncConnection, hospital: str, key_id: str) -> bool:
    """Revoke a key of a hospital; False where it has none of that id. Revoking it again changes nothing."""
    mine = (tables.keys.c.hospital == hospital) & (tables.keys.c.id == key_id)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    await connection.execute(update(tables.keys).where(mine, tables.keys.c.revoked_at.is_(None)).values(revoked_at=now))
    return (await connection.execute(select(tables.keys.c.id).where(mine))).first() is not None


def split(text: str) -> tuple[str, str] | None:
    """Id and secret of a key as it was sent; None for what cannot be one."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    return (key_id, secret) if prefix == PREFIX and key_id and secret else None


def _hash(salt: bytes, secret: str) -> bytes:
    return hashlib.sha256(salt + secret.encode("utf-8", "replace")).digest()

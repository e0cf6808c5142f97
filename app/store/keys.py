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

from app.errors import BadInput, FieldError
from app.store import tables
from app.store.changes import Change

PREFIX = "sg"
DEMO = "demo"
"""How the ids of demo keys begin."""
MAX_CLIENT_LENGTH = 64
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

    @property
    def is_demo(self) -> bool:
        """Whether it was made for the demo: it must not be reachable from elsewhere."""
        return self.id.startswith(DEMO)

    def opens_with(self, secret: str) -> bool:
        """Whether that is its secret; takes as long whether it is or not."""
        return hmac.compare_digest(_hash(self.salt, secret), self.hash)


async def create(
    connection: AsyncConnection, hospital: str, roles: Collection[Role], client: str | None, staff: str | None, *, demo: bool = False
) -> tuple[Key, str]:
    """Make a key. The second value is the key itself, which is kept nowhere. Without a client's name its id is the client."""
    key_id = f"{DEMO}{secrets.token_hex(4)}" if demo else secrets.token_hex(6)
    secret, salt = secrets.token_urlsafe(SECRET_BYTES), secrets.token_bytes(SALT_BYTES)
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


async def check_holder(connection: AsyncConnection, hospital: str, client: str | None, staff: str | None) -> None:
    """Whether a key may be made for them.

    Raises:
        BadInput: the hospital is not there, the client's name is reserved or too long, the person is not in the hospital's register.
    """
    wrong = []
    table, person = tables.hospitals, tables.staff
    if (await connection.execute(select(table.c.code).where(table.c.code == hospital))).first() is None:
        wrong.append(FieldError("hospital", "unknown_hospital", f"没有医院 {hospital} / no such hospital"))
    if client is not None and (not client.strip() or len(client) > MAX_CLIENT_LENGTH):
        wrong.append(FieldError("client", "invalid", f"应为1至{MAX_CLIENT_LENGTH}个字符 / must have 1 to {MAX_CLIENT_LENGTH} characters"))
    elif client is not None and client.startswith(f"{DEMO}-"):
        wrong.append(
            FieldError("client", "reserved", f"“{DEMO}-”开头的名称留给演示密钥 / names that begin with {DEMO}- are the demo keys'")
        )
    if staff is not None:
        known = select(person.c.staff).where(person.c.hospital == hospital, person.c.staff == staff)
        if (await connection.execute(known)).first() is None:
            wrong.append(FieldError("staff", "unknown_staff", f"工号 {staff} 不在人员名册中 / not in the register"))
    if wrong:
        raise BadInput(wrong)


def change_of(key: Key, by: str, action: str) -> Change:
    """The change log's row for a key that is made or revoked: nobody's rows change, but every worker reads the keys again."""
    detail = {"client": key.client, "roles": sorted(key.roles), "staff": key.staff}
    return Change(key.hospital, by, "key", key.id, action, people=(), detail=detail)


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

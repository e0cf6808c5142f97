"""A new key for the seals: the one before it vouches for it, then it is gone."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime

from app.audit.heads import Heads
from app.audit.seal import SealKey
from app.audit.sealer import Sealer
from app.audit.store import add_key, introduce, load_keys
from app.store import changes, hospitals, locks
from app.store.database import Database
from app.store.locks import Lock


async def rotate(database: Database, heads: Heads, by: str) -> SealKey:
    """Make a new key, have it vouched for, put it in the place of the old one and seal with it. One that was cut off is brought to its end.

    `database`: opened without telling `heads` of its commits, since their lock is held while this one commits. Running workers use the new key
    from their next commit on.

    Raises:
        SealKeyUnusable, OSError, ValueError, SQLAlchemyError: the key, its file or the store cannot be used; then the old key stays.
    """
    await introduce(database, heads.key_file.current())
    waiting = heads.key_file.made_following()
    if waiting is not None and await _known(database, waiting):
        with heads.locked():
            _put_in_place(heads)
    else:
        await _introduce_following(database, heads, by)
    await Sealer(database, heads, by, seconds=1).seal()
    return heads.key_file.current()


async def _introduce_following(database: Database, heads: Heads, by: str) -> None:
    row = heads.key_file.current().introduce(heads.key_file.make_following())
    with ExitStack() as stack:
        async with database.write("seal") as connection:
            await add_key(connection, row)
            codes = await hospitals.codes(connection)
            await locks.take(connection, Lock.CHANGES)
            await locks.take(connection, Lock.CHAIN, codes)
            for hospital in codes:
                detail = {"before": row.introduced_by, "after": row.key}
                change = changes.Change(hospital, by, "seal_key", row.key, "rotate", people=(), detail=detail)
                await changes.append(connection, change, datetime.now(UTC))
            # Nobody signs between the commit and the exchange of the file: what comes after the new key in the store is signed by it.
            stack.enter_context(heads.locked())
        _put_in_place(heads)


def _put_in_place(heads: Heads) -> None:
    heads.key_file.use_following()
    heads.sign_again(heads.key_file.current())


async def _known(database: Database, key: SealKey) -> bool:
    async with database.read() as connection:
        return any(row.key == key.fingerprint for row in await load_keys(connection))

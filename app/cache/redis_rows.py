"""A hospital's matrix in Redis: one packed row per person, what the hospital is but for its people, and which change all of it is complete up to.

    surgate:1:LAYOUT:{CODE}:itself   hash: `complete` (the change), `people` (how many), `packed`
    surgate:1:LAYOUT:{CODE}:people   hash: staff number → version and row
    surgate:1:LAYOUT:{CODE}:writer   who is writing all of it anew

Rows and mark move together, by one script, and only from the mark that the writer has seen; a whole hospital is written aside and renamed. So what
stands under a mark is what the database held at that change, and a reader who finds the mark that the change log tells may use it. Anything else
(nothing there, another mark, rows missing, bytes that cannot be read) is a miss: the reader goes to the database.

LAYOUT is the digest of what a row is made of (`app.cache.layout`): two versions whose rows differ each have rows of their own. The number before it is
raised by hand where fields that stay as they are come to mean something else. What no worker keeps any more, as that of a version that is gone, expires.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec

from app.cache.packed import LAYOUT, pack_itself, pack_person, unpack_itself, unpack_person
from app.cache.redis_client import Way
from app.engine.model import Person
from app.store.changes import Mark
from app.store.hospitals import Itself, Loaded, Values

PREFIX = f"surgate:1:{LAYOUT}"

PEOPLE_AT_ONCE = 50
"""Rows in one question: about 6,500 grants."""

MAX_PEOPLE = 5_000
"""Rows that one script reads or writes; more are a hospital anew."""

ASIDE_SECONDS = 600
"""How long what is written aside may stay unfinished."""

WRITER_SECONDS = 30
"""For how long one worker writes a hospital anew before another may begin."""

KEEP_SECONDS = 3_600
"""How long a hospital stays that nobody keeps: the worker that has the duty does so every few seconds."""

_KEEP = f"for i = 1, 2 do redis.call('EXPIRE', KEYS[i], {KEEP_SECONDS}) end"
"""Both at once, so that they go at once."""

_COMPLETE = f"""
{_KEEP}
return redis.call('HGET', KEYS[1], 'complete')
"""
_PUT = f"""
if redis.call('HGET', KEYS[1], 'complete') ~= ARGV[1] then return 0 end
local rows = tonumber(ARGV[4])
for i = 5, 4 + 2 * rows, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
for i = 5 + 2 * rows, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'packed', ARGV[3]) end
redis.call('HSET', KEYS[1], 'complete', ARGV[2], 'people', redis.call('HLEN', KEYS[2]))
{_KEEP}
return 1
"""
_REPLACE = f"""
if (redis.call('HGET', KEYS[1], 'complete') or '') ~= ARGV[1] then return 0 end
if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[4]) then return 0 end
redis.call('DEL', KEYS[2])
if ARGV[4] ~= '0' then redis.call('RENAME', KEYS[3], KEYS[2]) end
redis.call('HSET', KEYS[1], 'complete', ARGV[2], 'packed', ARGV[3], 'people', ARGV[4])
{_KEEP}
return 1
"""
_READ = """
local held = redis.call('HMGET', KEYS[1], 'complete', 'people', 'packed')
if held[1] ~= ARGV[1] or tonumber(held[2]) ~= redis.call('HLEN', KEYS[2]) then return {} end
local rows = {}
for i = 3, #ARGV do rows[i - 2] = redis.call('HGET', KEYS[2], ARGV[i]) end
return {ARGV[2] == '1' and held[3] or '', rows}
"""

_Made = TypeVar("_Made")

_UNREADABLE = (msgspec.MsgspecError, KeyError, ValueError, TypeError)


class NotReadable(Exception):
    """Bytes that no worker of this version wrote, or a row that is newer than it can be."""


class Rows:
    """The matrix in Redis, for one worker. Everything here raises `Away`."""

    def __init__(self, way: Way, aside: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        """`aside` makes what takes long in a thread, while the loop goes on answering."""
        self._way = way
        self._aside = aside

    async def complete(self, code: str) -> Mark | None:
        """Up to which change a hospital is complete; None where it is not there."""
        text = await self._way.ask("HGET", _itself(code), "complete")
        return None if text is None else _mark_of(text)

    async def kept(self, code: str) -> Mark | None:
        """The same, and what is there stays for another while."""
        text = await self._way.ask("EVAL", _COMPLETE, 2, _itself(code), _people(code))
        return None if text is None else _mark_of(text)

    async def whole(self, code: str, mark: Mark) -> Loaded | None:
        """A hospital as it was at that change; None where Redis does not have it so."""
        before = await self._way.ask("HMGET", _itself(code), "complete", "people", "packed")
        if None in before or before[0] != _text(mark):
            return None
        values, people = Values(), dict[str, Person]()
        cursor: Any = 0
        while True:
            cursor, found = await self._way.ask("HSCAN", _people(code), cursor, "COUNT", PEOPLE_AT_ONCE)
            rows = await self._read(partial(_unpacked, tuple(found.items()), mark, values))
            if rows is None:
                return None
            people |= rows
            if not int(cursor):
                break
        # What was there before and is there now did not change meanwhile: whatever writes a row writes the mark.
        if await self._way.ask("HMGET", _itself(code), "complete", "people") != before[:2] or len(people) != int(before[1]):
            return None
        itself = await self._read(partial(unpack_itself, before[2]))
        return None if itself is None else Loaded(itself, dict(sorted(people.items())), *mark)

    async def some(
        self, code: str, mark: Mark, numbers: Collection[str], *, itself: bool
    ) -> tuple[Itself | None, dict[str, Person]] | None:
        """The rows of some people as they were at that change, and where `itself` the hospital but for its people; None where Redis does not have
        them so. Who is not in the register is not in the answer."""
        if len(numbers) > MAX_PEOPLE:
            return None
        asked = sorted(numbers)
        found = await self._way.ask("EVAL", _READ, 2, _itself(code), _people(code), _text(mark), "1" if itself else "0", *asked)
        if not found:
            return None
        packed = [(number.encode(), row) for number, row in zip(asked, found[1], strict=True) if row is not None]
        people = await self._read(partial(_unpacked, packed, mark, Values()))
        if people is None:
            return None
        made = await self._read(partial(unpack_itself, found[0])) if itself else None
        return None if itself and made is None else (made, people)

    async def put(
        self, code: str, base: Mark, mark: Mark, itself: Itself | None, people: Mapping[str, Person], gone: Iterable[str]
    ) -> bool:
        """Bring a hospital from one change to a later one; False where it is not at the first any more."""
        rows = await self._aside(partial(_all_packed, people.items(), mark))
        left = list(gone)
        packed = b"" if itself is None else pack_itself(itself)
        words = [_text(base), _text(mark), packed, str(len(people)), *rows, *left]
        return bool(await self._way.ask("EVAL", _PUT, 2, _itself(code), _people(code), *words))

    async def replace(self, code: str, base: Mark | None, loaded: Loaded) -> bool:
        """Write a hospital anew; False where somebody else has brought it elsewhere than `base` meanwhile."""
        aside = f"{_people(code)}:{os.urandom(8).hex()}"
        people = list(loaded.people.items())
        for begin in range(0, len(people), PEOPLE_AT_ONCE):
            words = await self._aside(partial(_all_packed, people[begin : begin + PEOPLE_AT_ONCE], loaded.mark))
            await self._way.ask("HSET", aside, *words)
            if not begin:
                await self._way.ask("EXPIRE", aside, ASIDE_SECONDS)
        packed = await self._aside(partial(pack_itself, loaded.itself))
        words = ["" if base is None else _text(base), _text(loaded.mark), packed, str(len(people))]
        return bool(await self._way.ask("EVAL", _REPLACE, 3, _itself(code), _people(code), aside, *words))

    async def may_write(self, code: str, worker: str) -> bool:
        """Whether nobody else is writing the hospital anew; if so, nobody else begins for a while."""
        return await self._way.ask("SET", _writer(code), worker, "NX", "EX", WRITER_SECONDS) is not None

    async def written(self, code: str) -> None:
        """Let others write the hospital anew."""
        await self._way.ask("DEL", _writer(code))

    async def _read(self, make: Callable[[], _Made]) -> _Made | None:
        """What bytes say; None where they cannot be read."""
        try:
            made: _Made = await self._aside(make)
        except (*_UNREADABLE, NotReadable):
            return None
        return made


def _all_packed(people: Iterable[tuple[str, Person]], mark: Mark) -> list[str | bytes]:
    """Staff number, row, staff number, row …"""
    return [word for number, person in people for word in (number, mark.seq.to_bytes(8, "big") + pack_person(person))]


def _unpacked(found: Iterable[tuple[bytes, bytes]], mark: Mark, values: Values) -> dict[str, Person]:
    people = {}
    for number, packed in found:
        person = unpack_person(packed[8:], values)
        if int.from_bytes(packed[:8], "big") > mark.seq or person.staff.staff != number.decode():
            raise NotReadable
        people[person.staff.staff] = person
    return people


def _text(mark: Mark) -> bytes:
    return f"{mark.seq} {mark.at}".encode()


def _mark_of(text: bytes) -> Mark | None:
    seq, _, at = text.decode(errors="replace").partition(" ")
    return Mark(int(seq), at) if seq.isdecimal() else None


# What stands in braces alone says on which server of a cluster a key is: a hospital's keys are on one.
def _itself(code: str) -> str:
    return f"{PREFIX}:{{{code}}}:itself"


def _people(code: str) -> str:
    return f"{PREFIX}:{{{code}}}:people"


def _writer(code: str) -> str:
    return f"{PREFIX}:{{{code}}}:writer"

"""The journal: where decisions are kept on stable storage while the database is away.

One folder per node, shared by its workers: numbered files of frames (`journal_file`), written by one worker at a time under a lock. Before a worker
appends it reads what the others have appended, so that a request has one decision on the node. As long as anything waits in the journal, every
decision of the node goes there, so that they reach the database in their order; `journal_drain` brings them there.

Room is given beforehand, for the file in use, the next, and one of reserve which takes emergencies alone: a disk that is full meanwhile
still takes some thousand decisions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from app.store.decided import CaseTaken, Earlier, Kept, NotRecorded, Record, RequestKey
from app.store.journal_file import END, Damage, Frame, JournalFile, Kind, framed, sync_folder
from app.store.journal_index import NOTHING_FOUND, Case, Found, Index
from app.store.journal_lock import FolderLock, Locked
from app.store.journal_recent import Recent
from app.telemetry.meters import Meters

PRIVATE_FOLDER = 0o700

LOCK_SECONDS = 10.0
"""How long a worker waits for another one that writes before it gives up: the other one was frozen."""

NOTE_SECONDS = 1.0
"""The same for what may be left undone."""

SEGMENT, RESERVE = ".segment", ".reserve"
SPARE_NAMES = ("spare", "reserve")
"""Files whose room is given and that are not in use yet: the next one, and the one for emergencies."""

Refused = Earlier | CaseTaken | NotRecorded
"""Why a decision was not kept: its request has another one, its case another patient, or there is no room."""

_Made = TypeVar("_Made")
_log = logging.getLogger("surgate.journal")
_encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Record).decode


class NoRoom(NotRecorded):
    """No file of the journal has room, and none can be made."""


class Journal:
    """The journal as one worker sees it. `open` it before use, `close` it at the end."""

    def __init__(self, folder: Path, meters: Meters | None = None) -> None:
        self.folder = folder
        self._meters = meters or Meters()
        self._recent = Recent(folder)
        self._index = Index()
        self._voids: dict[str, int] = {}
        self._number = 0
        self._position: tuple[JournalFile, int] | None = None
        self._before: JournalFile | None = None
        self._synced = 0
        self._busy = False
        self._without_room: set[Path] = set()
        # Locks of a file are held by who opened it: the loop, the thread and the drain each hold one of their own, which keep each other out.
        self._of_loop, self._of_thread = FolderLock(folder / "lock"), FolderLock(folder / "lock")
        self._thread = ThreadPoolExecutor(1, "surgate-journal")

    # -------------------------------------------------------------------------------------------- for the loop

    async def open(self) -> None:
        """Read what is there and give files their room. Raises `OSError` where the folder cannot be used, `NoRoom` on a disk that is full."""
        await self._aside(self._open)

    async def close(self) -> None:
        """Let everything go."""
        await self._aside(self._close)
        self._thread.shutdown()

    async def holds(self) -> bool:
        """Whether decisions wait here, of whichever worker."""
        if self._news():
            await self._aside(self._caught_up)
        return bool(self._index)

    async def find(self, keys: Collection[RequestKey], cases: Collection[Case], *, recent: bool) -> Found:
        """What is known of requests and cases. `recent`: also by what was committed of late, since the database cannot be asked."""
        if recent or self._news():
            return await self._aside(self._find, keys, cases, recent)
        return self._known(keys, cases, None) if self._index else NOTHING_FOUND

    async def note(self, records: Sequence[Record]) -> dict[str, Earlier]:
        """Remember what was committed to the database. By record id: the answer of a decision under the same request that another worker has put into
        the journal meanwhile; that one was answered and counts."""
        if not self._busy and self._of_loop.acquire(0):
            try:
                return self._note(records)
            finally:
                self._of_loop.release()
        return await self._aside(self._note_locked, records)

    async def append(self, records: Sequence[Record], *, doubtful: bool) -> dict[str, Refused]:
        """Keep decisions on stable storage. By record id: why one was not kept. `doubtful`: the database may have taken them all the same."""
        with self._meters.journal():
            refused = await self._aside(self._append, records, doubtful)
        self._meters.journaled.add(len(records) - len(refused))
        return refused

    @property
    def waiting(self) -> int:
        """Decisions that wait here, as far as this worker has read."""
        return len(self._index)

    @property
    def oldest(self) -> str | None:
        """When the first that waits was judged."""
        return self._index.oldest

    @property
    def refused(self) -> Path:
        """The folder of what the database refuses."""
        return self.folder / "refused"

    def tell(self) -> None:
        """Tell the metrics what waits and what was refused."""
        self._meters.journal_records.set(len(self._index))
        self._meters.journal_refused.set(len(refused_files(self.folder)))

    # -------------------------------------------------------------------------------------------- with the lock held

    def catch_up(self) -> bool:
        """Read what was appended since; whether there was anything."""
        if self._position is None:
            self._enter(next(iter(segments(self.folder)), None))
        read = False
        while (found := self._opened.frame(self._offset)) is not None:
            read = True
            if isinstance(found, Damage):
                self._pass_over(found)
            elif found.kind is Kind.END:
                self._enter(self._following())
            else:
                self._take(found)
                self._go_to(found.end)
        return read

    def seal(self) -> None:
        """Everything is in the database: go on with a new file, and let the old ones go. Raises `NoRoom` where there is none for it; then the file in
        use stays as it is, and all of it is looked at again."""
        self.remove_before(self._number)  # first: on a full disk theirs is the room for the new one
        self._next(SEGMENT, any_room=True)
        self.remove_before(self._number)
        self._forget_gone()
        self._provide()

    def remove_before(self, number: int) -> None:
        """Let the files before that one go: their decisions are all in the database."""
        for older, path in segments(self.folder).items():
            if older < number:
                path.unlink()

    def remember(self, records: Sequence[Record]) -> None:
        """Remember what came from the journal to the database."""
        self._recent.append(Kept.of(record) for record in records)

    def voids(self, id_: str) -> bool:
        """Whether another one was answered in place of that decision."""
        return id_ in self._voids

    # -------------------------------------------------------------------------------------------- in the thread

    async def _aside(self, do: Callable[..., _Made], *given: object) -> _Made:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(do, *given))

    def _open(self) -> None:
        self.folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        self.refused.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        with self._of_thread.held(LOCK_SECONDS):
            self.catch_up()
            left = self._opened.leftover(self._offset)
            if left is not None:
                self._pass_over(left)
                self.catch_up()
            self._provide()
        self.tell()

    def _close(self) -> None:
        self._recent.close()
        for lock in (self._of_loop, self._of_thread):
            lock.close()
        for file in (self._before, None if self._position is None else self._opened):
            if file is not None:
                file.close()

    def _caught_up(self) -> None:
        with self._of_thread.held(LOCK_SECONDS):
            if self.catch_up():
                self._opened.sync()  # who wrote it may have died before
        self.tell()

    def _find(self, keys: Collection[RequestKey], cases: Collection[Case], recent: bool) -> Found:
        with self._of_thread.held(LOCK_SECONDS):
            if self.catch_up():
                self._opened.sync()
            return self._known(keys, cases, self._recent.index() if recent else None)

    def _note_locked(self, records: Sequence[Record]) -> dict[str, Earlier]:
        if not self._of_thread.acquire(NOTE_SECONDS):
            _log.error("journal: locked for %s s: %d decisions are not remembered beside the database", NOTE_SECONDS, len(records))
            return {}
        try:
            return self._note(records)
        finally:
            self._of_thread.release()

    def _append(self, records: Sequence[Record], doubtful: bool) -> dict[str, Refused]:
        self._busy = True  # what is written is not yet on stable storage: nobody may be answered by it
        try:
            with self._of_thread.held(LOCK_SECONDS):
                return self._appended(records, doubtful)
        except Locked as error:
            return dict.fromkeys((record.id for record in records), error)
        finally:
            self._busy = False

    def _appended(self, records: Sequence[Record], doubtful: bool) -> dict[str, Refused]:
        try:
            self.catch_up()
            self._synced = self._offset
            refused = {record.id: why for record in records if (why := self._put(record)) is not None}
            if doubtful:
                self._void([id_ for id_, why in refused.items() if isinstance(why, Earlier)])
            self._opened.sync()
        except OSError as error:
            _log.critical("journal: %d decisions could not be written: %s", len(records), error.strerror)
            self._retreat()
            return {record.id: NotRecorded(f"journal: {error.strerror}") for record in records}
        self._provide()
        self.tell()
        return refused

    # -------------------------------------------------------------------------------------------- parts of these

    @property
    def _opened(self) -> JournalFile:
        assert self._position is not None
        return self._position[0]

    @property
    def _offset(self) -> int:
        assert self._position is not None
        return self._position[1]

    def _go_to(self, offset: int) -> None:
        # File and place change as one: the loop looks at them while the thread goes on.
        self._position = (self._opened, offset)

    def _news(self) -> bool:
        """Whether somebody has written since, or is writing."""
        position = self._position
        return self._busy or position is None or position[0].begins(position[1])

    def _known(self, keys: Collection[RequestKey], cases: Collection[Case], recent: Index | None) -> Found:
        indexes = [self._index] if recent is None else [self._index, recent]
        earlier = {key: kept for key in keys for index in reversed(indexes) if (kept := index.earlier(key)) is not None}
        return Found(
            earlier,
            {case: judged for case in cases if (judged := self._index.of_case(case))},
            {} if recent is None else {case: judged for case in cases if (judged := recent.of_case(case))},
        )

    def _note(self, records: Sequence[Record]) -> dict[str, Earlier]:
        try:
            if self._news():
                self.catch_up()
            lost = {record.id: kept for record in records if (kept := self._index.earlier(record.key)) is not None and kept.id != record.id}
            if lost:
                self._void(list(lost))
                self._opened.sync()
            self._recent.append(Kept.of(record) for record in records if record.id not in lost)
        except OSError as error:
            # They are in the database: what is lost is the memory of them for an outage.
            _log.error("journal: %d decisions are not remembered beside the database: %s", len(records), error.strerror)
            return {}
        return {id_: kept.earlier for id_, kept in lost.items()}

    def _put(self, record: Record) -> Refused | None:
        """Write a decision; why not, where it is not written."""
        recent = self._recent.index()
        known = self._index.earlier(record.key) or recent.earlier(record.key)
        if known is not None and known.id != record.id:
            return known.earlier
        case = (record.key.hospital, record.case_id)
        of_case = recent.of_case(case) + self._index.of_case(case) if record.new_case else []
        if of_case and of_case[0].patient_id != record.patient_id:
            return CaseTaken()
        try:
            self._write(framed(Kind.RECORD, _encode(record)), emergency=record.emergency)
        except NoRoom as error:
            return error
        self._index.add(self._number, Kept.of(record))
        return None

    def _void(self, ids: Sequence[str]) -> None:
        for id_ in ids:
            try:
                self._write(framed(Kind.VOID, id_.encode()), emergency=True)
            except NoRoom as error:
                _log.error("journal: it is not kept that another decision was answered in place of %s: %s", id_, error)
            else:
                self._voids[id_] = self._number

    def _write(self, frame: bytes, *, emergency: bool) -> None:
        fits = self._offset + len(frame) + len(END) <= self._opened.size
        if not fits or (self._opened.path.suffix == RESERVE and not emergency):
            self._roll(emergency=emergency)
        self._opened.write(self._offset, frame)
        self._go_to(self._offset + len(frame))

    def _roll(self, *, emergency: bool) -> None:
        """Go on with the next file: the spare one, or for an emergency that of reserve. Raises `NoRoom`."""
        try:
            self._next(SEGMENT, any_room=False)
        except NoRoom:
            if not emergency or not self._reserve.exists():
                raise
            _log.critical("journal: the disk is full; from here on only emergencies are taken")
            self._next(RESERVE, any_room=True)

    def _next(self, suffix: str, *, any_room: bool) -> None:
        room = self._room(any_room=any_room)
        self._opened.write(self._offset, END)
        self._opened.sync()
        number = self._number + 1
        room.rename(self.folder / f"{number:08}{suffix}")
        sync_folder(self.folder)
        self._enter(number)

    def _room(self, *, any_room: bool) -> Path:
        """A file whose room is given: the spare one, a new one, or the reserve."""
        try:
            self._provide_one(self._spare)
        except OSError as error:
            if any_room and self._reserve.exists():
                return self._reserve
            raise NoRoom(f"journal: {error.strerror}") from error
        return self._spare

    @property
    def _spare(self) -> Path:
        return self.folder / SPARE_NAMES[0]

    @property
    def _reserve(self) -> Path:
        return self.folder / SPARE_NAMES[1]

    def _provide(self) -> None:
        """Give room to the spare file and to the reserve where they are gone."""
        for path in (self._spare, self._reserve):
            try:
                self._provide_one(path)
            except OSError as error:
                if path not in self._without_room:
                    _log.error("journal: no room can be given to %s: %s", path.name, error.strerror)
                self._without_room.add(path)
            else:
                self._without_room.discard(path)

    def _provide_one(self, path: Path) -> None:
        if not path.exists():
            JournalFile.make(path)

    def _enter(self, number: int | None) -> None:
        """Go on in a file; None: there is none after this one."""
        if number is None:
            self._next_after_a_crash()
            return
        self._leave()
        self._number, self._synced = number, 0
        self._position = (JournalFile.open(segments(self.folder)[number]), 0)
        self._forget_gone()

    def _leave(self) -> None:
        """Let the file go; the loop may be looking at it just now, so it is closed when the next one is left."""
        if self._before is not None:
            self._before.close()
        self._before = None if self._position is None else self._opened

    def _following(self) -> int | None:
        return next((number for number in segments(self.folder) if number > self._number), None)

    def _next_after_a_crash(self) -> None:
        """The file ended, and whoever ended it did not come to make the next one. Or there is none yet."""
        number = self._number + 1
        self._room(any_room=True).rename(self.folder / f"{number:08}{SEGMENT}")
        sync_folder(self.folder)
        self._enter(number)

    def _forget_gone(self) -> None:
        there = segments(self.folder)
        for number in self._index.files:
            if number not in there:
                self._index.forget(number)
        self._voids = {id_: number for id_, number in self._voids.items() if number in there}
        if not self._index:
            self._recent.forget()

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.VOID:
            self._voids[frame.content.decode()] = self._number
        else:
            try:
                self._index.add(self._number, Kept.of(decode(frame.content)))
            except msgspec.DecodeError:
                _log.exception("journal: a record of file %d at %d cannot be read", self._number, frame.begin)

    def _pass_over(self, damage: Damage) -> None:
        length = damage.end - damage.begin
        following = self._following()
        if damage.torn and following is None:
            _log.error("journal: %d bytes of a record that was never answered cut off file %d at %d", length, self._number, damage.begin)
            self._opened.clear(damage.begin, damage.end)
            self._opened.sync()
        else:
            _log.critical("journal: %d damaged bytes in file %d at %d", length, self._number, damage.begin)
            self._go_to(damage.end)
            if damage.torn:
                self._enter(following)

    def _retreat(self) -> None:
        """Writing failed. What was written since the last time it held is ended here, and everything read again from the files."""
        try:
            self._opened.write(self._synced, END)
            self._opened.sync()
        except OSError as error:
            _log.critical("journal: file %d cannot be ended: %s", self._number, error.strerror)
        self._leave()
        self._position, self._index, self._voids, self._number = None, Index(), {}, 0


class Content(NamedTuple):
    """What a journal holds, read from outside: decisions, oldest first, and how many places cannot be read."""

    records: list[Record]
    unreadable: int


def read_journal(folder: Path) -> Content:
    """Read a journal that others may be writing. What is being written at its end is not looked at. Raises `OSError`."""
    records, unreadable = [], 0
    for path in segments(folder).values():
        file = JournalFile.open(path)
        try:
            for found in file.frames():
                if isinstance(found, Damage):
                    unreadable += 0 if found.torn else 1
                elif found.kind is Kind.END:
                    break
                elif found.kind is Kind.RECORD:
                    try:
                        records.append(decode(found.content))
                    except msgspec.DecodeError:
                        unreadable += 1
        finally:
            file.close()
    return Content(records, unreadable)


def segments(folder: Path) -> dict[int, Path]:
    """The numbered files of a journal, oldest first."""
    return {int(path.stem): path for path in sorted(folder.glob("[0-9]*")) if path.suffix in (SEGMENT, RESERVE)}


def refused_files(folder: Path) -> list[Path]:
    """What the database refused, or nobody could read."""
    return sorted((folder / "refused").glob("*"))

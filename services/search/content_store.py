"""The content store: documents' bytes in append-only pack files of one folder.

    <folder>/<first two letters>/<name>.pack
    pack   = "SMPACK01" record*
    record = length (4 bytes), checksum (4 bytes), payload

Numbers are little-endian; the checksum is the CRC-32 of length and payload.

A record is on disk before the journal is told of it (`ContentStore.storing`). What a crash
leaves at a pack's end is pointed to by nobody. A process appends to packs of its own making only,
and closes one for good when it is large or old or a write to it failed. Packs that nobody points to
any more are the collector's to remove (`content_collector`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import time
import uuid
import zlib
from collections import OrderedDict
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from searchmesh_common.errors import DataLoss, ServiceError, Unavailable
from searchmesh_search.group_thread import GroupThread, Job
from searchmesh_search.pack_hold import removing
from searchmesh_search.sync_folder import sync_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence, Set
    from pathlib import Path

    from searchmesh_search.deadline import Deadline

APPEND_SECONDS = 600.0
"""Time for which a pack is appended to."""
CLAIM_SECONDS = 600.0
"""Time in which the journal must be told of contents; see `NewContents.claim`."""

MAGIC = b"SMPACK01"
SUFFIX = ".pack"
_PROBE = bytes(64 << 10)
_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<II")
HEADER_BYTES = _HEADER.size
"""What a record takes beyond its payload."""


@dataclass(frozen=True, slots=True)
class ContentRef:
    """Where a record lies."""

    pack: str
    """Name of the pack, without folder and suffix."""
    offset: int
    """Of the record's first byte, in bytes from the pack's."""
    length: int
    """Of the payload, in bytes."""

    @property
    def end(self) -> int:
        """Where the record ends, and the next one of the pack begins."""
        return self.offset + _HEADER.size + self.length


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that is there."""

    name: str
    bytes: int
    """Of its file."""
    idle_seconds: float
    """Since it was last appended to."""
    in_use: bool
    """Whether this process appends to it, or has put something there that the journal may not know
    yet."""


@dataclass(frozen=True, slots=True)
class NewContents:
    """Contents that the journal does not know yet."""

    refs: list[ContentRef]
    """In the order given."""
    begun: float
    """When they began to be stored."""

    def claim(self) -> None:
        """To be called in the transaction that tells the journal of them.

        Raises Unavailable when that comes so late that another process may have taken them for
        unused.
        """
        if _now() - self.begun > CLAIM_SECONDS:
            raise Unavailable("the contents were stored too long ago for the journal; try again")


class PackGone(DataLoss):
    """A pack is not there: lost, or deleted since the journal was asked; see `content_reader`."""


class ContentStore:
    """Keeps byte strings for good, many at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        max_pack_bytes: int = 64 << 20,
        max_pack_seconds: float = APPEND_SECONDS,
        max_open_packs: int = 64,
    ) -> None:
        """folder: made when missing.

        max_pack_bytes: a pack that has grown past it takes no more. max_pack_seconds: nor one that
        was begun so long ago.
        """
        self._folder = folder
        self._max_pack_bytes = max_pack_bytes
        self._max_pack_seconds = max_pack_seconds
        self._open_packs = _OpenPacks(folder, max_open_packs)
        self._current: _PackWriter | None = None
        self._own = _OwnPacks()
        self._has_failed = False
        self._thread: GroupThread[Sequence[bytes], list[ContentRef]] = GroupThread(
            "content store", self._append_group, max_waiting=1024, max_group=64
        )

    async def open(self) -> None:
        """Raises Unavailable when the folder cannot be made or written."""
        await asyncio.to_thread(self._make_folder)
        self._thread.start()

    async def close(self) -> None:
        """Finish the writes that wait, then close. Closing twice is no error."""
        await self._thread.close()
        self._retire_current()
        self._open_packs.clear()

    @asynccontextmanager
    async def storing(
        self, payloads: Sequence[bytes], deadline: Deadline
    ) -> AsyncIterator[NewContents]:
        """Store payloads, each under 4 GiB; they are on disk when the block begins. The block tells
        the journal, and until it ends nobody takes them for unused.

        Raises Unavailable when the disk is full or fails, Overloaded, DeadlineExceeded.
        """
        with self._own.using():
            begun = _now()
            refs = await self._thread.submit(payloads, deadline) if payloads else []
            yield NewContents(refs, begun)

    async def get(self, refs: Sequence[ContentRef]) -> list[bytes]:
        """The payloads, in the order of `refs`.

        Raises DataLoss for one that is damaged, PackGone for one whose pack is missing.
        """
        return await asyncio.to_thread(lambda: [self._read(ref) for ref in refs])

    async def ping(self, deadline: Deadline) -> None:
        """Where nothing could be stored the last time, try it; what that stores is dead.

        Raises Unavailable when the disk is full or fails, Overloaded, DeadlineExceeded.
        """
        if self._has_failed:
            async with self.storing([_PROBE], deadline):
                pass

    async def packs(self) -> list[Pack]:
        """Every pack that is there. Raises Unavailable when the folder cannot be read."""
        found = await asyncio.to_thread(self._list)
        # asked after that: a pack that was made meanwhile is in use
        in_use = self._own.in_use()
        self._open_packs.keep({name for name, _ in found})
        now = time.time()
        return [
            Pack(name, status.st_size, now - status.st_mtime, name in in_use)
            for name, status in found
        ]

    async def remove(self, names: Sequence[str]) -> bool:
        """Delete packs to whose records nothing points any more; one being gone is no error.

        Returns False, with all of them left, while a backup copies packs. Raises Unavailable.
        """
        return await asyncio.to_thread(self._remove, names)

    def _list(self) -> list[tuple[str, os.stat_result]]:
        try:
            return list(_packs_in(self._folder))
        except OSError as error:
            raise _unavailable(error) from error

    def _remove(self, names: Sequence[str]) -> bool:
        try:
            with removing(self._folder) as allowed:
                for name in names if allowed else ():
                    self._open_packs.drop(name)
                    pack_path(self._folder, name).unlink(missing_ok=True)
        except OSError as error:
            raise _unavailable(error) from error
        return allowed

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            sync_folder(self._folder.parent)
            sync_folder(self._folder)
        except OSError as error:
            raise _unavailable(error) from error

    def _append_group(self, group: Sequence[Job[Sequence[bytes], list[ContentRef]]]) -> None:
        """Append the payloads of every job, then wait for the disk once."""
        try:
            pack = self._writable_pack()
            refs = [[pack.append(payload) for payload in job.item] for job in group]
            pack.sync()
        except OSError as error:
            self._has_failed = True
            self._retire_current()
            for job in group:
                job.future.set_exception(_unavailable(error))
            return
        self._has_failed = False
        for job, of_job in zip(group, refs, strict=True):
            job.future.set_result(of_job)

    def _writable_pack(self) -> _PackWriter:
        if self._current is not None and (
            self._current.size >= self._max_pack_bytes
            or self._current.age_seconds >= self._max_pack_seconds
        ):
            self._retire_current()
        if self._current is None:
            name = uuid.uuid4().hex
            self._own.add(name)
            self._current = _PackWriter.create(self._folder, name)
        return self._current

    def _retire_current(self) -> None:
        pack, self._current = self._current, None
        self._own.retire()
        if pack is not None:
            # a disk that failed a write may fail this too; what counts was synced before
            with contextlib.suppress(OSError):
                pack.close()

    def _read(self, ref: ContentRef) -> bytes:
        where = f"content store: record at {ref.offset} of pack {ref.pack}"
        try:
            record = self._open_packs.read(ref.pack, ref.offset, _HEADER.size + ref.length)
        except FileNotFoundError as error:
            raise PackGone(f"{where}: the pack is missing") from error
        except OSError as error:
            raise _unavailable(error) from error
        if len(record) < _HEADER.size:
            raise DataLoss(f"{where}: the pack ends before it")
        length, checksum = _HEADER.unpack_from(record)
        payload = record[_HEADER.size :]
        if length != ref.length or len(payload) != length or checksum != _checksum(payload):
            raise DataLoss(f"{where}: the record is damaged")
        return payload


class _OwnPacks:
    """Which of the packs that this process has made are in use: the one that is appended to, and
    those with something that the journal is only being told of.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._made = 0
        # the first pack that what is stored from now on may be in
        self._first = 0
        # the same for each block of `using`, as it was when the block began
        self._first_of_blocks: list[int] = []

    def add(self, name: str) -> None:
        """A pack is about to be made."""
        self._numbers[name] = self._made
        self._made += 1

    def retire(self) -> None:
        """No pack made so far is appended to any more."""
        self._first = self._made

    @contextmanager
    def using(self) -> Iterator[None]:
        """What is stored while the block runs is in use until it ends."""
        first = self._first
        self._first_of_blocks.append(first)
        try:
            yield
        finally:
            self._first_of_blocks.remove(first)

    def in_use(self) -> set[str]:
        first = min((self._first, *self._first_of_blocks))
        for name, number in list(self._numbers.items()):
            if number < first:
                del self._numbers[name]
        return set(self._numbers)


class _PackWriter:
    """A pack that grows. Used by one thread."""

    def __init__(self, name: str, descriptor: int) -> None:
        self._name = name
        self._descriptor = descriptor
        self._created = _now()
        self.size = 0

    @classmethod
    def create(cls, folder: Path, name: str) -> _PackWriter:
        """A new pack whose name is on disk, so that what is synced into it is found again."""
        path = pack_path(folder, name)
        if not path.parent.exists():
            path.parent.mkdir()
            sync_folder(folder)
        pack = cls(name, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            pack._write(MAGIC)
            pack.sync()
            sync_folder(path.parent)
        except OSError:
            pack.close()
            # or a full disk would be left with a file for each attempt
            path.unlink(missing_ok=True)
            raise
        return pack

    @property
    def age_seconds(self) -> float:
        return _now() - self._created

    def append(self, payload: bytes) -> ContentRef:
        ref = ContentRef(self._name, self.size, len(payload))
        self._write(_HEADER.pack(len(payload), _checksum(payload)) + payload)
        return ref

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self.size += len(data)


class _OpenPacks:
    """Packs open for reading, the least recently used closed first."""

    def __init__(self, folder: Path, max_open: int) -> None:
        self._folder = folder
        self._max_open = max_open
        self._packs: OrderedDict[str, _OpenPack] = OrderedDict()
        self._lock = Lock()

    def read(self, name: str, offset: int, length: int) -> bytes:
        return self._get(name).read(offset, length)

    def drop(self, name: str) -> None:
        with self._lock:
            self._packs.pop(name, None)

    def keep(self, names: Set[str]) -> None:
        """Close all others: a file that is open takes its space even when it was deleted."""
        with self._lock:
            for name in self._packs.keys() - names:
                del self._packs[name]

    def clear(self) -> None:
        with self._lock:
            self._packs.clear()

    def _get(self, name: str) -> _OpenPack:
        with self._lock:
            pack = self._packs.pop(name, None) or _OpenPack(pack_path(self._folder, name))
            self._packs[name] = pack
            if len(self._packs) > self._max_open:
                self._packs.popitem(last=False)
            return pack


class _OpenPack:
    """A pack open for reading.

    Closed when the last one who uses it lets go: never under a reader's feet.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0 and (part := os.pread(self._descriptor, length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def pack_path(folder: Path, name: str) -> Path:
    """The file of a pack."""
    return folder / name[:2] / f"{name}{SUFFIX}"


def _packs_in(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Names of packs and what is known of their files; one deleted meanwhile is left out."""
    for path in folder.glob(f"*/*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            yield path.stem, path.stat()


def _now() -> float:
    """Seconds on a clock that goes on while the machine sleeps, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_LENGTH.pack(len(payload))))


def _unavailable(error: OSError) -> ServiceError:
    return Unavailable(f"the content store cannot be used: {error.strerror or error}")

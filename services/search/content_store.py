"""The content store: documents' bytes in append-only pack files of one folder.

    <folder>/<first two letters>/<name>.pack
    pack   = "SMPACK01" record*
    record = length (4 bytes), checksum (4 bytes), payload

Numbers are little-endian; the checksum is the CRC-32 of length and payload.

A record is on disk before `put` returns, so the journal may point to it from then on. What a crash
leaves at a pack's end is pointed to by nobody. A process appends to packs of its own making only,
and closes one for good when it is large or a write to it failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import uuid
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from searchmesh_common.errors import DataLoss, ServiceError, Unavailable
from searchmesh_search.group_thread import GroupThread, Job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from searchmesh_search.deadline import Deadline

MAGIC = b"SMPACK01"
SUFFIX = ".pack"
_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<II")


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


class PackGone(DataLoss):
    """A pack is not there: lost, or deleted since the journal was asked; see `content_reader`."""


class ContentStore:
    """Keeps byte strings for good, many at a time."""

    def __init__(
        self, folder: Path, *, max_pack_bytes: int = 64 << 20, max_open_packs: int = 64
    ) -> None:
        """folder: made when missing.

        max_pack_bytes: a pack that has grown past it takes no more.
        """
        self._folder = folder
        self._max_pack_bytes = max_pack_bytes
        self._open_packs = _OpenPacks(folder, max_open_packs)
        self._current: _PackWriter | None = None
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

    async def put(self, payloads: Sequence[bytes], deadline: Deadline) -> list[ContentRef]:
        """Store payloads, each under 4 GiB; once it returns they are on disk. References in the
        order given.

        Raises Unavailable when the disk is full or fails, Overloaded, DeadlineExceeded.
        """
        return await self._thread.submit(payloads, deadline) if payloads else []

    async def get(self, refs: Sequence[ContentRef]) -> list[bytes]:
        """The payloads, in the order of `refs`.

        Raises DataLoss for one that is damaged, PackGone for one whose pack is missing.
        """
        return await asyncio.to_thread(lambda: [self._read(ref) for ref in refs])

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._folder.parent)
            _sync_folder(self._folder)
        except OSError as error:
            raise _unavailable(error) from error

    def _append_group(self, group: Sequence[Job[Sequence[bytes], list[ContentRef]]]) -> None:
        """Append the payloads of every job, then wait for the disk once."""
        try:
            pack = self._writable_pack()
            refs = [[pack.append(payload) for payload in job.item] for job in group]
            pack.sync()
        except OSError as error:
            self._retire_current()
            for job in group:
                job.future.set_exception(_unavailable(error))
            return
        for job, of_job in zip(group, refs, strict=True):
            job.future.set_result(of_job)

    def _writable_pack(self) -> _PackWriter:
        if self._current is not None and self._current.size >= self._max_pack_bytes:
            self._retire_current()
        if self._current is None:
            self._current = _PackWriter.create(self._folder)
        return self._current

    def _retire_current(self) -> None:
        pack, self._current = self._current, None
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


class _PackWriter:
    """A pack that grows. Used by one thread."""

    def __init__(self, name: str, descriptor: int) -> None:
        self._name = name
        self._descriptor = descriptor
        self.size = 0

    @classmethod
    def create(cls, folder: Path) -> _PackWriter:
        """A new pack whose name is on disk, so that what is synced into it is found again."""
        name = uuid.uuid4().hex
        path = pack_path(folder, name)
        if not path.parent.exists():
            path.parent.mkdir()
            _sync_folder(folder)
        pack = cls(name, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            pack._write(MAGIC)
            pack.sync()
            _sync_folder(path.parent)
        except OSError:
            pack.close()
            raise
        return pack

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


def _checksum(payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_LENGTH.pack(len(payload))))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unavailable(error: OSError) -> ServiceError:
    return Unavailable(f"the content store cannot be used: {error.strerror or error}")

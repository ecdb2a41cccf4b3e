"""Files copied to stay: synced, and with their checksums."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO, Protocol

from searchmesh_common.errors import DataLoss, Unavailable
from searchmesh_search.backups.manifest import StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK_BYTES = 1 << 20
_PAGES = 1024
"""Of a database, copied between two words to the listener."""


class Listener(Protocol):
    """Hears how far the work is."""

    def copied(self, part: str, done_bytes: int, total_bytes: int) -> None:
        """So much of a part (journal, engine, contents) is copied."""


def copy_database(
    source: sqlite3.Connection, target: Path, told: Callable[[int, int], None]
) -> StoredFile:
    """Copy the snapshot that a connection reads to a file of its own.

    told: called with bytes done and in total. Raises OSError, and Unavailable for what SQLite says.
    """
    try:
        (page_bytes,) = source.execute("PRAGMA page_size").fetchone()
        with closing(sqlite3.connect(target)) as copy:
            source.backup(
                copy,
                pages=_PAGES,
                progress=lambda _status, left, total: told(
                    (total - left) * page_bytes, total * page_bytes
                ),
            )
            # one file, without a log beside it
            copy.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise Unavailable(f"{target.name} cannot be copied: {error}") from error
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())
    return StoredFile(target.stat().st_size, digest.hexdigest())


def copy_file(source: Path, target: Path, told: Callable[[int], None]) -> StoredFile:
    """Copy a file as it is now to a new one, in a folder that is made.

    told: called with the bytes that have come along. Raises OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    with source.open("rb") as read, target.open("xb", buffering=0) as written:
        os.fchmod(written.fileno(), 0o600)
        for chunk in _chunks(read):
            _write(written, chunk)
            digest.update(chunk)
            size += len(chunk)
            told(len(chunk))
        os.fsync(written.fileno())
    return StoredFile(size, digest.hexdigest())


def require_same(copied: StoredFile, described: StoredFile, path: Path) -> None:
    """Raises DataLoss where a file of a backup is not what its manifest says."""
    if copied != described:
        raise DataLoss(
            f"{path} is damaged: {copied.bytes} bytes of SHA-256 {copied.sha256}, the backup was "
            f"made with {described.bytes} of {described.sha256}"
        )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _write(file: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]

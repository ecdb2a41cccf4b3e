"""What is particular to SQLite: connections, the lock between processes, and its errors in our
words.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from searchmesh_common.errors import (
    DataLoss,
    FailedPrecondition,
    ServiceError,
    Unavailable,
    Unsupported,
)
from searchmesh_search.journal.clock import give_clock
from searchmesh_search.sqlite_size import size_bytes

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

BUSY_TIMEOUT_MS = 500
"""How long SQLite itself waits for a lock that another program holds; nobody should hold one."""

LOG_BYTES = 64 << 20
"""What the write-ahead log keeps of the disk once it was longer: a backup makes it so."""

SLACK_PAGES = 1024
SLACK_SHARE = 0.25
"""Free pages that are kept for what is written next: so many, and this share of the file."""

STEP_PAGES = 200
"""Free pages given back in one transaction; other writers wait meanwhile."""

_WRITER_PRAGMAS = (
    # before the first table; a file that was made without it reuses free pages and keeps its size
    "auto_vacuum=INCREMENTAL",
    "journal_mode=WAL",
    "synchronous=FULL",
    f"journal_size_limit={LOG_BYTES}",
)

_INCREMENTAL = 2

_SENTENCES = {
    sqlite3.SQLITE_FULL: "the disk that holds the journal is full",
    sqlite3.SQLITE_READONLY: "the journal is read-only",
    sqlite3.SQLITE_BUSY: "the journal is locked by another program",
    sqlite3.SQLITE_LOCKED: "the journal is locked by another program",
    sqlite3.SQLITE_IOERR: "the disk that holds the journal fails",
    sqlite3.SQLITE_CANTOPEN: "the journal cannot be opened",
    sqlite3.SQLITE_PERM: "the journal may not be written by this user",
}
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT: "the journal is damaged",
    sqlite3.SQLITE_NOTADB: "the journal is not a database",
}


class SqliteDatabase:
    """A file, for one process."""

    is_shared = False

    def __init__(self, url: URL) -> None:
        """Raises Unsupported where the URL names no file."""
        if not url.database or url.database == ":memory:":
            raise Unsupported("the journal's URL names no file: give sqlite:/// and its path")
        self._url = url
        self._path = Path(url.database)
        self._lock = _ProcessLock(Path(f"{url.database}.lock"))

    def acquire(self) -> None:
        """Take the lock; the folder is made.

        Raises FailedPrecondition when another process has it, Unavailable when its file cannot be
        made.
        """
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()

    def create_writer(self) -> Engine:
        return self._engine(1, "BEGIN IMMEDIATE", _WRITER_PRAGMAS)

    def create_migrator(self) -> Engine:
        return self.create_writer()

    def create_reader(self, connections: int) -> Engine:
        return self._engine(connections, "BEGIN", ("query_only=ON",))

    def create_renewer(self) -> Engine:
        return self.create_writer()

    def size_bytes(self) -> int:
        return size_bytes(self._path)

    def has_slack(self, connection: Connection) -> bool:
        free = _pragma(connection, "freelist_count")
        allowed = max(SLACK_PAGES, _pragma(connection, "page_count") * SLACK_SHARE)
        return free > allowed and _pragma(connection, "auto_vacuum") == _INCREMENTAL

    def give_back(self, connection: Connection) -> None:
        for _ in range(STEP_PAGES):
            # of a larger number, too, the driver would have SQLite free one page and no more
            connection.exec_driver_sql("PRAGMA incremental_vacuum(1)")

    def translate(self, error: DBAPIError) -> ServiceError | DBAPIError:
        code = _primary_code(error.orig)
        if code in _SENTENCES:
            return Unavailable(f"{_SENTENCES[code]} ({error.orig})")
        if code in _DAMAGE:
            return DataLoss(f"{_DAMAGE[code]} ({error.orig})")
        return error

    def is_undone(self, error: DBAPIError) -> bool:  # noqa: ARG002 - another database's trouble
        return False

    def _engine(self, connections: int, begin: str, pragmas: tuple[str, ...]) -> Engine:
        engine = create_engine(self._url, pool_size=connections, max_overflow=0)
        _configure(engine, begin, pragmas)
        return engine


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def _configure(engine: Engine, begin: str, pragmas: tuple[str, ...]) -> None:
    # The driver's own transaction handling begins late and deferred: two transactions that read and
    # then update overwrite each other, or one dies of SQLITE_BUSY. So it is switched off and BEGIN
    # is ours.
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        give_clock(connection)
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)


class _ProcessLock:
    """Keeps a second process off a journal: it would roll back the writes that the first has in
    hand.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises FailedPrecondition when another process holds it, Unavailable when its file cannot
        be made.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"the journal's folder cannot be written: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FailedPrecondition(
                "JOURNAL_IN_USE",
                f"another search service uses the journal beside {self._path}; stop it, "
                "or give this one another journal",
            ) from None
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have it. Releasing what is not held is no error."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _primary_code(error: Any) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF

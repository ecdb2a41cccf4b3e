"""What is particular to SQLite: connections, the lock between processes, and its errors in our
words.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from searchmesh_common.errors import (
    DataLoss,
    FailedPrecondition,
    ServiceError,
    Unavailable,
    Unsupported,
)
from searchmesh_search.journal.clock import give_clock

BUSY_TIMEOUT_MS = 500
"""How long SQLite itself waits for a lock that another program holds; nobody should hold one."""

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


def parse_url(url: str) -> URL:
    """A journal's URL: `sqlite:///` and a path. Raises Unsupported for any other."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Unsupported(f"journal URL {url!r}: give sqlite:/// and the path of a file") from None
    if (
        parsed.get_backend_name() != "sqlite"
        or not parsed.database
        or parsed.database == ":memory:"
    ):
        shown = parsed.render_as_string(hide_password=True)
        raise Unsupported(
            f"journal URL {shown!r}: only a file is supported, sqlite:/// and its path"
        )
    return parsed


def create_writer(url: URL) -> Engine:
    """An engine of one connection whose transactions take the write lock when they begin."""
    engine = create_engine(url, pool_size=1, max_overflow=0)
    _configure(engine, begin="BEGIN IMMEDIATE", pragmas=("journal_mode=WAL", "synchronous=FULL"))
    return engine


def create_reader(url: URL, connections: int) -> Engine:
    """An engine whose transactions see one snapshot and cannot write."""
    engine = create_engine(url, pool_size=connections, max_overflow=0)
    _configure(engine, begin="BEGIN", pragmas=("query_only=ON",))
    return engine


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


class ProcessLock:
    """Keeps a second process off a journal: it would roll back the writes that the first has in
    hand.
    """

    def __init__(self, url: URL) -> None:
        assert url.database is not None
        self._path = Path(f"{url.database}.lock")
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


def translate(error: DBAPIError) -> ServiceError | DBAPIError:
    """The error in our words; a fault of our own statements is returned as it is."""
    code = _primary_code(error.orig)
    if code in _SENTENCES:
        return Unavailable(f"{_SENTENCES[code]} ({error.orig})")
    if code in _DAMAGE:
        return DataLoss(f"{_DAMAGE[code]} ({error.orig})")
    return error


def _primary_code(error: Any) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF

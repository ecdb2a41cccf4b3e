"""The journal's file and the engine's as they are at one moment, while both are written to.

A row gets into the engine after the journal has noted it as pending, and leaves it after the
journal has noted it as garbage. So at a moment at which nothing is committed to the journal,
everything that it calls current is in the engine, and the engine holds nothing that the journal
cannot explain. Such a moment is made: the journal's write lock is held while a snapshot of
either file is begun. SQLite's write-ahead logs then keep both readable while the writing goes on.
"""

from __future__ import annotations

import contextlib
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from searchmesh_common.errors import FailedPrecondition, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK_SECONDS = 30.0
"""How long to try for the journal's write lock. The service releases it after each transaction, but
nobody queues for it."""


@contextmanager
def one_moment(
    journal: Path, engine: Path
) -> Iterator[tuple[sqlite3.Connection, sqlite3.Connection]]:
    """Connections to both, each in a transaction that reads the snapshot.

    Raises FailedPrecondition where a file has no write-ahead log: reading it would keep its writer
    from writing. Raises Unavailable where one cannot be opened or the lock is not to be had.
    """
    with (
        _connection(journal) as writer,
        _connection(journal) as of_journal,
        _connection(engine) as of_engine,
    ):
        with _lock(writer, journal):
            _begin(of_journal, journal)
            _begin(of_engine, engine)
        yield of_journal, of_engine


@contextmanager
def _connection(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            timeout=_LOCK_SECONDS,
            isolation_level=None,
            uri=True,
        )
    except sqlite3.Error as error:
        raise Unavailable(f"{path} cannot be opened: {error}") from error
    with closing(connection):
        yield connection


@contextmanager
def _lock(writer: sqlite3.Connection, path: Path) -> Iterator[None]:
    try:
        writer.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise Unavailable(f"{path} cannot be locked for a moment: {error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(sqlite3.Error):
            writer.execute("ROLLBACK")


def _begin(connection: sqlite3.Connection, path: Path) -> None:
    try:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        connection.execute("BEGIN")
        # a snapshot begins with the first read
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        raise Unavailable(f"{path} cannot be read: {error}") from error
    if mode != "wal":
        raise FailedPrecondition(
            "NO_WRITE_AHEAD_LOG",
            f"{path} has no write-ahead log, so it cannot be read while it is written to; move it "
            "to a file system that allows one",
        )

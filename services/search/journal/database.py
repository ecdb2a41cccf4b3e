"""Database: what the journal needs to know of the database that keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from searchmesh_common.errors import Unsupported
from searchmesh_search.journal.postgres import PostgresDatabase
from searchmesh_search.journal.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.exc import DBAPIError

    from searchmesh_common.errors import ServiceError


class Database(Protocol):
    """A kind of database, at one place.

    In a transaction of its writers every statement sees all that was committed before, and nobody
    else can commit until it ends: what an operation has read is still true when it writes.
    """

    is_shared: bool
    """Whether several processes may use it at once."""

    def acquire(self) -> None:
        """Keep others away where it is not shared.

        Raises FailedPrecondition when another process has it or it cannot hold a journal,
        Unavailable when it cannot be reached.
        """

    def release(self) -> None:
        """Undo `acquire`; no error where nothing was acquired."""

    def create_writer(self) -> Engine:
        """An engine of one connection whose transactions take turns with those of all writers."""

    def create_migrator(self) -> Engine:
        """The same, for statements that may take long."""

    def create_reader(self, connections: int) -> Engine:
        """An engine whose transactions see one snapshot and cannot write."""

    def create_renewer(self) -> Engine:
        """An engine of one connection whose transactions wait for no writer's turn."""

    def size_bytes(self) -> int:
        """What it takes on this machine's disk; 0 where a server keeps it."""

    def has_slack(self, connection: Connection) -> bool:
        """Whether space that is not used any more is worth giving back by `give_back`."""

    def give_back(self, connection: Connection) -> None:
        """Give some of it back, so little that other writers hardly wait."""

    def translate(self, error: DBAPIError) -> ServiceError | DBAPIError:
        """The error in our words; a fault of our own statements is returned as it is."""

    def is_undone(self, error: DBAPIError) -> bool:
        """Whether the database undid a transaction for no fault of its own, so that the same one
        may succeed now.
        """


def database_at(url: str) -> Database:
    """The database that a URL names: sqlite:///path or postgresql://user@host/database.

    Raises Unsupported for any other.
    """
    parsed = _parsed(url)
    match parsed.get_backend_name():
        case "sqlite":
            return SqliteDatabase(parsed)
        case "postgresql" | "postgres":
            return PostgresDatabase(parsed)
    raise _unsupported()


def file_of(url: str) -> Path | None:
    """The file that a URL names; None for a server's database. Raises Unsupported for no URL."""
    parsed = _parsed(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise _unsupported() from None


def _unsupported() -> Unsupported:
    # without what was given, which may hold a password
    return Unsupported(
        "the journal's URL names no database that is supported: give sqlite:/// and the path of a "
        "file, or postgresql://user@host/database"
    )

"""What is particular to PostgreSQL: connections, whose turn it is to write, and its errors in our
words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from searchmesh_common.errors import DataLoss, FailedPrecondition, ServiceError, Unavailable

if TYPE_CHECKING:
    from psycopg.abc import PQGen

Result = TypeVar("Result")

CONNECT_SECONDS = 5
"""Time to make a connection."""
STATEMENT_SECONDS = 10
"""Time for one statement, the wait for a turn to write included."""
IDLE_SECONDS = 5
"""Time from one statement of a transaction to the next. The server ends a connection that takes
longer, so that a replica which stands still in its turn does not hold up the others for longer."""
ANSWER_SECONDS = 15.0
"""Time after which a server that does not answer at all is given up, longer than it takes to refuse
a statement."""

_WRITE_LOCK = 0x7365617263686D65
"""The advisory lock of whoever writes: 'searchme', as any other program that uses advisory locks in
the same database will hardly choose it."""

_SESSION = f"""
SET statement_timeout = '{STATEMENT_SECONDS}s';
SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s';
SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off';
"""
"""Bounds, and what is acknowledged is on disk whatever the database's default is."""

_UNBOUNDED = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0"

_AWAY = "the journal's database is away"
_SENTENCES = {
    "25006": "the journal's database is read-only",
    "40001": "the journal was written by others at the same time",
    "40P01": "the journal was written by others at the same time",
    "42501": "the journal may not be written by this user",
    "53100": "the disk that holds the journal's database is full",
    "53200": "the journal's database has no memory left",
    "53300": "the journal's database takes no more connections",
    "55P03": "the journal is locked by others",
    "57014": "the journal's database did not answer in time, or others did not end their writes",
}
_CLASSES = {
    "08": _AWAY,
    "53": "the journal's database has no room left",
    "57": "the journal's database is being stopped or started",
    "58": "the disk that holds the journal's database fails",
}
_DAMAGE = {"XX001", "XX002"}
_UNDONE = {"40001", "40P01"}


class PostgresDatabase:
    """A database of a PostgreSQL server, for any number of processes."""

    is_shared = True

    def __init__(self, url: URL) -> None:
        self._url = url.set(drivername="postgresql+psycopg")

    def acquire(self) -> None:
        """Nobody is kept away, but the database must be able to hold every text.

        Raises FailedPrecondition, Unavailable.
        """
        engine = _connecting(create_engine(self._url, poolclass=NullPool))
        try:
            with engine.connect() as connection:
                encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        except DBAPIError as error:
            raise self.translate(error) from error
        if encoding != "UTF8":
            raise FailedPrecondition(
                "JOURNAL_ENCODING",
                f"the journal's database has the encoding {encoding}; make one with UTF8",
                {"encoding": encoding},
            )

    def release(self) -> None:
        """There is nothing to undo."""

    def create_writer(self) -> Engine:
        return _taking_turns(self._engine("READ COMMITTED", connections=1))

    def create_migrator(self) -> Engine:
        engine = _connecting(create_engine(self._url, poolclass=NullPool))
        _on_connect(engine, _UNBOUNDED)
        return _taking_turns(engine)

    def create_reader(self, connections: int) -> Engine:
        engine = self._engine("REPEATABLE READ", connections)
        return engine.execution_options(postgresql_readonly=True)

    def create_renewer(self) -> Engine:
        return self._engine("READ COMMITTED", connections=1)

    def size_bytes(self) -> int:
        return 0

    def has_slack(self, connection: Connection) -> bool:  # noqa: ARG002 - autovacuum looks after it
        return False

    def give_back(self, connection: Connection) -> None:
        """There is never anything to do."""

    def translate(self, error: DBAPIError) -> ServiceError | DBAPIError:
        code = getattr(error.orig, "sqlstate", None) or ""
        reason = " ".join(str(error.orig).split())
        if code in _DAMAGE:
            return DataLoss(f"the journal is damaged ({reason})")
        sentence = _SENTENCES.get(code) or _CLASSES.get(code[:2])
        if sentence is None and (error.connection_invalidated or _is_unreachable(error)):
            sentence = _AWAY
        return error if sentence is None else Unavailable(f"{sentence} ({reason})")

    def is_undone(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) in _UNDONE

    def _engine(self, isolation: Any, connections: int) -> Engine:
        engine = create_engine(
            self._url, pool_size=connections, max_overflow=0, isolation_level=isolation
        )
        _on_connect(engine, _SESSION)
        return _connecting(engine)


class _Connection(psycopg.Connection[Any]):
    """A connection that gives up a server which does not answer: one that stands still, or whose
    machine is gone, ends no connection by itself.
    """

    def wait(
        self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        try:
            return super().wait(gen, interval, timeout or ANSWER_SECONDS)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def _connecting(engine: Engine) -> Engine:
    def connect(_dialect: Any, _record: Any, given: Any, named: dict[str, Any]) -> _Connection:
        named.setdefault("connect_timeout", CONNECT_SECONDS)
        named.setdefault("application_name", "searchmesh-search")
        return _Connection.connect(*given, **named)

    event.listen(engine, "do_connect", connect)
    return engine


def _on_connect(engine: Engine, statements: str) -> None:
    def set_up(connection: _Connection, _record: object) -> None:
        connection.execute(statements.encode())
        connection.commit()

    event.listen(engine, "connect", set_up)


def _taking_turns(engine: Engine) -> Engine:
    """Each transaction begins with the wait until no other one of these is under way.

    READ COMMITTED is what this needs: a stricter one would go on with the snapshot of before the
    wait. Nothing else is locked, so no two of them can wait for each other.
    """

    def take_turn(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")

    event.listen(engine, "begin", take_turn)
    return engine


def _is_unreachable(error: DBAPIError) -> bool:
    """Whether no connection could be made; such an error has no code of its own."""
    return isinstance(error.orig, psycopg.OperationalError) and error.orig.sqlstate is None

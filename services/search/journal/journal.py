"""The journal: the truth about collections and documents, with one writer and a few readers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from sqlalchemy import Connection, false, select, text, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from searchmesh_common.errors import DeadlineExceeded, Overloaded, Unavailable
from searchmesh_search.group_thread import GroupThread, Job
from searchmesh_search.journal.database import database_at
from searchmesh_search.journal.migrate import migrate
from searchmesh_search.journal.tables import replicas

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from searchmesh_search.deadline import Deadline

Result = TypeVar("Result")
Operation = Callable[[Connection], Any]

MAX_WRITE_GROUP = 64
"""Most operations in one transaction: bounds how long the first of them waits for its commit."""

MAX_ATTEMPTS = 3
"""Times that a transaction is tried which the database undoes for no fault of its own."""


class Listener(Protocol):
    """Hears of the journal's transactions, from the thread that ran them."""

    def committed(self, operations: int, seconds: float) -> None:
        """A group of writes is on disk, so long after it was begun."""


class Journal:
    """Runs operations on the journal's database.

    An operation is a function of a connection, called in another thread inside a transaction, and
    called again where the database undid that. It must return plain values, and it may raise one of
    our errors, which undoes that operation alone. What one writing operation reads, no other
    changes before its transaction ends, in this process or in another.
    """

    def __init__(
        self,
        url: str,
        *,
        readers: int = 4,
        max_waiting: int = 1024,
        listener: Listener | None = None,
    ) -> None:
        """url: `sqlite:///` and a path, whose folder is made, or `postgresql://user@host/database`.

        readers: connections for reading. max_waiting: writes, and as many reads, in the queue.
        Raises Unsupported for another URL.
        """
        self._database = database_at(url)
        self._writer = self._database.create_writer()
        self._reader = self._database.create_reader(readers)
        self._renewer = self._database.create_renewer()
        self._read_threads = ThreadPoolExecutor(readers, thread_name_prefix="journal reader")
        self._renew_thread = ThreadPoolExecutor(1, thread_name_prefix="journal renewer")
        self._max_waiting = max_waiting
        self._listener = listener
        self._reading = 0
        self._has_failed = False
        self._write_thread: GroupThread[Operation, Any] = GroupThread(
            "journal", self._commit_group, max_waiting=max_waiting, max_group=MAX_WRITE_GROUP
        )

    @property
    def is_shared(self) -> bool:
        """Whether other processes may use it at the same time."""
        return self._database.is_shared

    @property
    def waiting(self) -> int:
        """Writes that wait for their transaction."""
        return self._write_thread.waiting

    @property
    def size_bytes(self) -> int:
        """What it takes on this machine's disk; 0 where a server keeps it."""
        return self._database.size_bytes()

    async def open(self) -> None:
        """Take the lock, bring the schema up to date and start the writer.

        Raises FailedPrecondition when another process has the journal or a newer version wrote it,
        Unavailable when it cannot be reached or written, DataLoss when it is damaged.
        """
        try:
            await asyncio.to_thread(self._open)
        except BaseException:
            await self.close()
            raise
        self._write_thread.start()

    async def close(self) -> None:
        """Finish the writes that wait, then close. Closing twice is no error."""
        await self._write_thread.close()
        await asyncio.to_thread(self._read_threads.shutdown)
        await asyncio.to_thread(self._renew_thread.shutdown)
        # the writer last: SQLite folds its log into the file when the last connection that may
        # write is closed
        for engine in (self._reader, self._renewer, self._writer):
            engine.dispose()
        self._database.release()

    async def write(self, operation: Callable[[Connection], Result], deadline: Deadline) -> Result:
        """Run `operation` and return its value once it is committed, on disk.

        Raises Overloaded, Unavailable or DeadlineExceeded; after the last two it may still commit.
        """
        return cast("Result", await self._write_thread.submit(operation, deadline))

    async def settle(self, deadline: Deadline) -> None:
        """Wait until every write that was asked for before is committed or has failed, also those
        whose callers have gone.

        Raises as `write` does.
        """
        await self.write(_write_nothing, deadline)

    async def read(self, operation: Callable[[Connection], Result], deadline: Deadline) -> Result:
        """Run `operation` on one snapshot that holds every write committed before the call."""
        if self._reading >= self._max_waiting:
            raise Overloaded(f"the journal has {self._reading} reads waiting")
        self._reading += 1
        try:
            return await _run_in(self._read_threads, lambda: self._read_now(operation), deadline)
        finally:
            self._reading -= 1

    async def renew(self, operation: Callable[[Connection], object], deadline: Deadline) -> None:
        """Run `operation`, which touches only rows that no other one writes, without waiting for a
        turn to write: a lease must not be over because writes take long.

        Raises as `write` does.
        """
        await _run_in(self._renew_thread, lambda: self._renew_now(operation), deadline)

    async def compact(self, deadline: Deadline) -> None:
        """Give space that is not used any more back to the disk, a little at a time.

        Raises as `write` does; what was given back stays so.
        """
        while await self.read(self._database.has_slack, deadline):
            await self.write(self._database.give_back, deadline)

    async def ping(self, deadline: Deadline) -> None:
        """Write and read. Raises as they do.

        What is written needs the disk only where the last write failed: it may be full.
        """
        await self.write(_rewrite if self._has_failed else _write_nothing, deadline)
        await self.read(_read_nothing, deadline)

    def _open(self) -> None:
        self._database.acquire()
        migrator = self._database.create_migrator()
        try:
            migrate(migrator)
        except DBAPIError as error:
            raise self._database.translate(error) from error
        finally:
            migrator.dispose()

    def _read_now(self, operation: Callable[[Connection], Result]) -> Result:
        try:
            return _once_more_if_lost(lambda: self._read_once(operation))
        except DBAPIError as error:
            raise self._database.translate(error) from error

    def _read_once(self, operation: Callable[[Connection], Result]) -> Result:
        with self._reader.begin() as connection:
            return operation(connection)

    def _renew_now(self, operation: Callable[[Connection], object]) -> None:
        try:
            _once_more_if_lost(lambda: self._renew_once(operation))
        except DBAPIError as error:
            raise self._database.translate(error) from error

    def _renew_once(self, operation: Callable[[Connection], object]) -> None:
        with self._renewer.begin() as connection:
            operation(connection)

    def _commit_group(self, group: Sequence[Job[Operation, Any]]) -> None:
        """One transaction for the whole group.

        A database error, unless it is an operation's own, condemns the group: the transaction may
        be gone already, so nothing of it is kept.
        """
        started = time.perf_counter()
        try:
            settled = self._commit(group)
        except DBAPIError as error:
            self._has_failed = True
            for job in group:
                job.future.set_exception(self._database.translate(error))
            return
        self._has_failed = False
        if self._listener is not None:
            self._listener.committed(len(group), time.perf_counter() - started)
        for settle in settled:
            settle()

    def _commit(self, group: Sequence[Job[Operation, Any]]) -> Sequence[Callable[[], None]]:
        """Run a group; returns what tells the owners, to be called now that it is committed."""
        for attempts_left in reversed(range(MAX_ATTEMPTS)):
            try:
                return self._commit_once(group)
            except DBAPIError as error:
                if not (attempts_left and self._database.is_undone(error)):
                    raise
        raise AssertionError

    def _commit_once(self, group: Sequence[Job[Operation, Any]]) -> Sequence[Callable[[], None]]:
        connection = _once_more_if_lost(lambda: _begun(self._writer))
        with connection:
            try:
                settled = [_attempt(connection, job) for job in group]
                connection.commit()
            except DBAPIError:
                connection.invalidate()
                raise
        return settled


def _begun(engine: Engine) -> Connection:
    """A connection in a transaction; one that refuses to begin is thrown away."""
    connection = engine.connect()
    try:
        connection.begin()
    except DBAPIError:
        connection.invalidate()
        connection.close()
        raise
    return connection


def _once_more_if_lost(work: Callable[[], Result]) -> Result:
    """Do `work`, and again where a connection that was kept from before proves to be lost."""
    try:
        return work()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    return work()


async def _run_in(
    threads: ThreadPoolExecutor, work: Callable[[], Result], deadline: Deadline
) -> Result:
    timeout = deadline.remaining()
    try:
        future = threads.submit(work)
    except RuntimeError:
        raise Unavailable("the journal is closed") from None
    try:
        async with asyncio.timeout(timeout):
            return await asyncio.wrap_future(future)
    except TimeoutError:
        raise DeadlineExceeded("the journal did not answer in time") from None


def _attempt(connection: Connection, job: Job[Operation, Any]) -> Callable[[], None]:
    """Run one operation in a savepoint; what it returns tells the owner, to be called after the
    commit.
    """
    try:
        with connection.begin_nested():
            result = job.item(connection)
    except Exception as error:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError | DataError):
            raise
        failure = error  # belongs to the operation's owner
        return lambda: job.future.set_exception(failure)
    return lambda: job.future.set_result(result)


def _write_nothing(connection: Connection) -> None:
    # which a database that is read-only refuses all the same
    connection.execute(update(replicas).where(false()).values(lease_until=0))


def _rewrite(connection: Connection) -> None:
    connection.execute(text("UPDATE alembic_version SET version_num = version_num"))


def _read_nothing(connection: Connection) -> None:
    connection.execute(select(1))

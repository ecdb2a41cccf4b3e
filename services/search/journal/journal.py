"""The journal: the truth about collections and documents, with one writer and a few readers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from searchmesh_common.errors import DeadlineExceeded, Overloaded
from searchmesh_search.group_thread import GroupThread, Job
from searchmesh_search.journal import sqlite
from searchmesh_search.journal.migrate import migrate

if TYPE_CHECKING:
    from searchmesh_search.deadline import Deadline

Result = TypeVar("Result")
Operation = Callable[[Connection], Any]

MAX_WRITE_GROUP = 64
"""Most operations in one transaction: bounds how long the first of them waits for its commit."""


class Journal:
    """Runs operations on the journal's database.

    An operation is a function of a connection, called in another thread inside a transaction. It
    must return plain values, and it may raise one of our errors, which undoes that operation alone.
    """

    def __init__(self, url: str, *, readers: int = 4, max_waiting: int = 1024) -> None:
        """url: `sqlite:///` and a path; the folder is made.

        max_waiting: writes, and as many reads, in the queue.
        """
        parsed = sqlite.parse_url(url)
        self._lock = sqlite.ProcessLock(parsed)
        self._writer = sqlite.create_writer(parsed)
        self._reader = sqlite.create_reader(parsed, readers)
        self._read_threads = ThreadPoolExecutor(readers, thread_name_prefix="journal reader")
        self._max_waiting = max_waiting
        self._reading = 0
        self._write_thread: GroupThread[Operation, Any] = GroupThread(
            "journal", self._commit_group, max_waiting=max_waiting, max_group=MAX_WRITE_GROUP
        )

    async def open(self) -> None:
        """Take the lock, bring the schema up to date and start the writer.

        Raises FailedPrecondition when another process has the journal or a newer version wrote it,
        Unavailable when it cannot be written, DataLoss when it is damaged.
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
        # the writer last: SQLite folds its log into the file when the last connection that may
        # write is closed
        self._reader.dispose()
        self._writer.dispose()
        self._lock.release()

    async def write(self, operation: Callable[[Connection], Result], deadline: Deadline) -> Result:
        """Run `operation` and return its value once it is committed, on disk.

        Raises Overloaded, Unavailable or DeadlineExceeded; after the last it may still commit.
        """
        return cast("Result", await self._write_thread.submit(operation, deadline))

    async def read(self, operation: Callable[[Connection], Result], deadline: Deadline) -> Result:
        """Run `operation` on one snapshot that holds every write committed before the call."""
        if self._reading >= self._max_waiting:
            raise Overloaded(f"the journal has {self._reading} reads waiting")
        timeout = deadline.remaining()
        future = self._read_threads.submit(self._read_now, operation)
        self._reading += 1
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), timeout)
        except TimeoutError:
            raise DeadlineExceeded("the journal did not answer in time") from None
        finally:
            self._reading -= 1

    async def ping(self, deadline: Deadline) -> None:
        """Take the write lock and read. Raises as `write` and `read` do."""
        await self.write(_nothing, deadline)
        await self.read(_nothing, deadline)

    def _open(self) -> None:
        self._lock.acquire()
        try:
            migrate(self._writer)
        except DBAPIError as error:
            raise sqlite.translate(error) from error

    def _read_now(self, operation: Callable[[Connection], Result]) -> Result:
        try:
            with self._reader.begin() as connection:
                return operation(connection)
        except DBAPIError as error:
            raise sqlite.translate(error) from error

    def _commit_group(self, group: Sequence[Job[Operation, Any]]) -> None:
        """One transaction for the whole group, a savepoint for each operation.

        A database error, unless it is a broken constraint, condemns the group: the transaction may
        be gone already, so nothing of it is kept.
        """
        settled: list[Callable[[], None]] = []
        try:
            with self._writer.connect() as connection:
                try:
                    with connection.begin():
                        settled.extend(_attempt(connection, job) for job in group)
                except DBAPIError:
                    connection.invalidate()
                    raise
        except DBAPIError as error:
            for job in group:
                job.future.set_exception(sqlite.translate(error))
            return
        for settle in settled:
            settle()


def _attempt(connection: Connection, job: Job[Operation, Any]) -> Callable[[], None]:
    """Run one operation; what it returns tells the owner, to be called after the commit."""
    try:
        with connection.begin_nested():
            result = job.item(connection)
    except Exception as error:
        if isinstance(error, DBAPIError) and not isinstance(error, IntegrityError):
            raise
        failure = error  # belongs to the operation's owner
        return lambda: job.future.set_exception(failure)
    return lambda: job.future.set_result(result)


def _nothing(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))

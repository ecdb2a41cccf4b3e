"""Imports as those see them who began them: followed, listed, cancelled and forgotten."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common import page_tokens
from searchmesh_common.errors import FailedPrecondition, NotFound, Unavailable
from searchmesh_search.deadline import Deadline
from searchmesh_search.imports.housekeeping import forget
from searchmesh_search.journal import Journal, import_rows
from searchmesh_search.journal.import_rows import State

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from sqlalchemy import Connection

    from searchmesh_search.imports.changes import Changes
    from searchmesh_search.imports.rates import Rates
    from searchmesh_search.journal.import_rows import Failure, ImportRow

SHOWN_FAILURES = 100
"""Failures that an import's status has; a list has them all."""
READ_SECONDS = 30.0
LOOK_SECONDS = 1.0
"""How often a followed import is looked at that changes on another replica."""
PAUSE_SECONDS = 0.25
"""Least time between two states that a follower gets."""


@dataclass(frozen=True, slots=True)
class ImportStatus:
    """An import at a moment."""

    row: ImportRow
    failures: Sequence[Failure]
    """The first ones."""
    documents_per_second: float
    seconds_left: float | None
    """None while there is no estimate."""


@dataclass(frozen=True, slots=True)
class StatusPage:
    """Some imports, and the token of the page that follows; empty after the last."""

    statuses: Sequence[ImportStatus]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class FailurePage:
    """Some failures, and the token of the page that follows; empty after the last."""

    failures: Sequence[Failure]
    next_page_token: str


class Operations:
    """The operations of the service: its imports."""

    def __init__(
        self,
        journal: Journal,
        changes: Changes,
        rates: Rates,
        *,
        draining: asyncio.Event,
        wake_sweeper: Callable[[], None],
    ) -> None:
        """draining: when it is set, nothing is followed any longer.

        wake_sweeper: called when an import leaves something to clear away.
        """
        self._journal = journal
        self._changes = changes
        self._rates = rates
        self._draining = draining
        self._wake_sweeper = wake_sweeper

    async def get(self, import_id: str, deadline: Deadline | None = None) -> ImportStatus:
        """Raises NotFound. deadline: None for a stream, which may have none."""
        return await self._journal.read(
            lambda c: self._status(c, import_id), deadline or Deadline.after(READ_SECONDS)
        )

    async def list_page(self, page_size: int, page_token: str, deadline: Deadline) -> StatusPage:
        """Imports in order of id. Raises InvalidRequest for a token of another list."""
        scope = ("operations",)
        after = page_tokens.decode(scope, page_token)
        statuses = await self._journal.read(
            lambda c: [self._seen(c, row) for row in import_rows.page(c, after, page_size + 1)],
            deadline,
        )
        shown = statuses[:page_size]
        more = len(statuses) > page_size
        token = page_tokens.encode(scope, shown[-1].row.id) if more else ""
        return StatusPage(shown, token)

    async def failures_page(
        self, import_id: str, page_size: int, page_token: str, deadline: Deadline
    ) -> FailurePage:
        """What an import has set aside, by position.

        Raises NotFound, InvalidRequest for a token of another list.
        """
        scope = ("failures", import_id)
        after = page_tokens.decode(scope, page_token)

        def read(connection: Connection) -> Sequence[Failure]:
            _require(connection, import_id)
            return import_rows.failures(
                connection, import_id, int(after) if after else -1, page_size + 1
            )

        failures = await self._journal.read(read, deadline)
        shown = failures[:page_size]
        more = len(failures) > page_size
        token = page_tokens.encode(scope, str(shown[-1].position)) if more else ""
        return FailurePage(shown, token)

    async def watch(self, import_id: str) -> AsyncGenerator[ImportStatus]:
        """An import's status now and whenever it has changed, until it has ended.

        Raises NotFound, Unavailable where the server drains or the journal is away.
        """
        last = None
        while not self._draining.is_set():
            status = await self.get(import_id)
            if status != last:
                yield status
            if status.row.has_ended:
                return
            last = status
            looked = time.monotonic()
            await self._changes.wait(import_id, LOOK_SECONDS)
            await asyncio.sleep(looked + PAUSE_SECONDS - time.monotonic())
        raise Unavailable("this server is draining; open the stream again")

    async def wait(self, import_id: str, seconds: float, deadline: Deadline) -> ImportStatus:
        """An import's status once it has ended, or after that time. Raises NotFound."""
        until = time.monotonic() + seconds
        while True:
            status = await self.get(import_id, deadline)
            left = until - time.monotonic()
            if status.row.has_ended or left <= 0 or self._draining.is_set():
                return status
            await self._changes.wait(import_id, min(left, LOOK_SECONDS))

    async def cancel(self, import_id: str, deadline: Deadline) -> None:
        """Stop an import; what is stored stays. One that has ended stays as it is.

        Raises NotFound.
        """

        def cancel(connection: Connection) -> None:
            _require(connection, import_id)
            import_rows.end(connection, import_id, State.CANCELLED)

        await self._journal.write(cancel, deadline)
        self._changes.tell(import_id)
        self._wake_sweeper()

    async def delete(self, import_id: str, deadline: Deadline) -> None:
        """Forget an import that has ended; its documents stay.

        Raises NotFound, FailedPrecondition for one that has not ended.
        """
        row = await self._journal.read(lambda c: _require(c, import_id), deadline)
        if not row.has_ended:
            raise FailedPrecondition(
                "OPERATION_RUNNING",
                f"operation {import_id!r} has not ended; cancel it first",
                {"operation": f"operations/{import_id}"},
            )
        await forget(self._journal, import_id, deadline)
        self._changes.tell(import_id)

    def _status(self, connection: Connection, import_id: str) -> ImportStatus:
        return self._seen(connection, _require(connection, import_id))

    def _seen(self, connection: Connection, row: ImportRow) -> ImportStatus:
        failures: Sequence[Failure] = ()
        if row.failed_count:
            failures = import_rows.failures(connection, row.id, -1, SHOWN_FAILURES)
        rate = 0.0 if row.has_ended else self._rates.documents_per_second(row.id)
        left = None
        if row.state is State.RUNNING and rate:
            left = (row.received_count - row.done_count) / rate
        return ImportStatus(row, failures, rate, left)


def _require(connection: Connection, import_id: str) -> ImportRow:
    row = import_rows.find(connection, import_id)
    if row is None:
        raise NotFound("operation", f"operations/{import_id}", f"no operation {import_id!r}")
    return row

"""What becomes of imports that nobody brings to an end, and of those that have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_common.errors import Aborted, NotFound, ServiceError
from searchmesh_search.imports.batches import LATE_INSERT_US
from searchmesh_search.imports.failures import status_bytes
from searchmesh_search.journal import Journal, batch_rows, deletion_rows, import_rows, write_rows
from searchmesh_search.journal.import_rows import State

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from searchmesh_search.deadline import Deadline

BATCHES_AT_ONCE = 20
"""Batches dropped in one transaction, with their pending writes; other writers wait meanwhile."""
ROWS_AT_ONCE = 500
"""Rows of a forgotten import, and deletes, dropped in one transaction."""


class Housekeeping:
    """One of the sweeper's steps. It writes only where there is something to do."""

    def __init__(self, journal: Journal, *, kept_seconds: float, resume_seconds: float) -> None:
        """kept_seconds: how long an import is known after its end.

        resume_seconds: how long one that is not all received waits for its stream.
        """
        self._journal = journal
        self._kept_seconds = kept_seconds
        self._resume_seconds = resume_seconds

    async def sweep(self, deadline: Deadline) -> None:
        """Raises what the journal raises; what was done stays done."""
        for import_id in await self._journal.read(import_rows.orphans, deadline):
            error = NotFound("collection", "", "the import's collection was deleted")
            await self._fail(import_id, error, deadline)
        for import_id in await self._journal.read(
            lambda c: import_rows.lapsed(c, self._resume_seconds), deadline
        ):
            await self._fail(import_id, _not_resumed(self._resume_seconds), deadline)
        for import_id in await self._journal.read(import_rows.ended_with_waiting, deadline):
            await _drop_waiting(self._journal, import_id, deadline)
        for import_id in await self._journal.read(
            lambda c: import_rows.ended_before(c, self._kept_seconds), deadline
        ):
            await forget(self._journal, import_id, deadline)
        if await self._journal.read(deletion_rows.any_settled, deadline):
            await self._forget_deletions(deadline)

    async def _forget_deletions(self, deadline: Deadline) -> None:
        while not await self._journal.write(
            lambda c: deletion_rows.forget_settled(c, ROWS_AT_ONCE), deadline
        ):
            pass

    async def _fail(self, import_id: str, error: ServiceError, deadline: Deadline) -> None:
        reason = status_bytes(error)
        await self._journal.write(
            lambda c: import_rows.end(c, import_id, State.FAILED, reason), deadline
        )


async def forget(journal: Journal, import_id: str, deadline: Deadline) -> None:
    """Drop all that the journal has of an import that has ended."""
    await _drop_waiting(journal, import_id, deadline)
    while not await journal.write(
        lambda c: import_rows.forget(c, import_id, ROWS_AT_ONCE), deadline
    ):
        pass


async def _drop_waiting(journal: Journal, import_id: str, deadline: Deadline) -> None:
    def drop(connection: Connection) -> bool:
        intents = batch_rows.drop_waiting(connection, import_id, BATCHES_AT_ONCE)
        write_rows.roll_back(connection, intents, LATE_INSERT_US)
        return bool(intents)

    while await journal.write(drop, deadline):
        pass


def _not_resumed(seconds: float) -> Aborted:
    return Aborted(
        f"the stream was cut and not opened again for {seconds:g} s; what was received is stored. "
        "Bring the rest in under a new request_id"
    )

"""Brings the engine in line with the journal, behind the callers' backs.

A write is over for its caller once the journal has it. What is left to do in the engine (rows of
old generations, of failed writes and of deleted collections) is noted in the journal in the same
transaction and done here, again and again until it has succeeded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from searchmesh_common.errors import NotFound, ServiceError
from searchmesh_common.logs import fields
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import (
    Journal,
    collection_rows,
    replica_rows,
    request_rows,
    write_rows,
)
from searchmesh_search.journal.clock import SECOND_US
from searchmesh_search.wait_within import wait_within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy import Connection

    from searchmesh_search.engine import Engine
    from searchmesh_search.journal.collection_rows import Leftover
    from searchmesh_search.journal.write_rows import Garbage, Littered

_log = logging.getLogger("searchmesh.sweeper")

GARBAGE_GROUP = 1_000
"""Rows dropped with one call of the engine; a document of more goes alone."""
PURGE_ROWS = 5_000
"""Rows of a deleted collection dropped in one transaction; other writers wait meanwhile."""
REQUESTS_KEPT_SECONDS = 24 * 3600
"""How long a request_id is remembered."""


@dataclass(slots=True)
class InHand:
    """What this process has begun and not ended. Whatever else the journal shows as begun by it, or
    by a replica whose lease is over, is nobody's any more.
    """

    owner: str
    """This process's name among the replicas."""
    creations: set[str] = field(default_factory=set)
    """Physical names of collections being made."""
    intents: set[str] = field(default_factory=set)
    """Calls that write documents."""


class Sweeper:
    """Sweeps when woken and at intervals."""

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        in_hand: InHand,
        *,
        more: Sequence[Callable[[Deadline], Awaitable[None]]] = (),
        interval_seconds: float = 5.0,
        sweep_seconds: float = 30.0,
        late_insert_seconds: float = 60.0,
    ) -> None:
        """more: steps of a round beyond its own.

        sweep_seconds: time for one round. late_insert_seconds: how long after a failed write its
        rows are dropped, because an insert that timed out may still arrive.
        """
        self._journal = journal
        self._engine = engine
        self._in_hand = in_hand
        self._more = more
        self._interval_seconds = interval_seconds
        self._sweep_seconds = sweep_seconds
        self._late_insert_us = int(late_insert_seconds * SECOND_US)
        self._woken = asyncio.Event()
        self._is_put_off = False

    def wake(self) -> None:
        """Something is to be swept."""
        self._woken.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.sweep(Deadline.after(self._sweep_seconds))
            except Exception as error:  # noqa: BLE001 - whatever a round meets, the next must come
                self._put_off(error)
                # what woke us cannot be done now; not again before the interval is over
                await asyncio.sleep(self._interval_seconds)
            else:
                self._is_put_off = False
                await wait_within(self._woken, self._interval_seconds)

    async def recover(self, deadline: Deadline) -> None:
        """Undo in the journal what was begun and will never be ended."""
        undone = await self._journal.write(self._undo_abandoned, deadline)
        if undone:
            _log.info("undid what was not acknowledged", extra=fields(count=undone))

    async def sweep(self, deadline: Deadline) -> None:
        """One round; it writes only where there is something to do.

        A collection that cannot be swept does not keep the others from it. Raises the first error
        that the engine or the journal raised; what was done stays done.
        """
        if await self._journal.read(self._has_abandoned, deadline):
            await self.recover(deadline)
        leftovers = await self._journal.read(collection_rows.leftovers, deadline)
        littered = await self._journal.read(write_rows.with_due_garbage, deadline)
        steps: list[Callable[[Deadline], Awaitable[None]]] = [
            *(partial(self._finish_deletion, one) for one in leftovers),
            *(partial(self._drop_garbage, one) for one in littered),
            self._forget_requests,
            *self._more,
        ]
        errors = []
        for step in steps:
            try:
                await step(deadline)
            except ServiceError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _put_off(self, error: Exception) -> None:
        if isinstance(error, ServiceError):
            level = logging.DEBUG if self._is_put_off else logging.WARNING
            _log.log(level, "sweeping is put off", extra=fields(reason=error.message))
        else:
            _log.error("sweeping failed", exc_info=error)
        self._is_put_off = True

    def _has_abandoned(self, connection: Connection) -> bool:
        return any(self._abandoned(connection))

    def _undo_abandoned(self, connection: Connection) -> int:
        creations, intents = self._abandoned(connection)
        collection_rows.abandon(connection, creations)
        count = write_rows.roll_back(connection, intents, self._late_insert_us)
        replica_rows.forget_gone(connection)
        return len(creations) + count

    def _abandoned(self, connection: Connection) -> tuple[set[str], set[str]]:
        """Physical names of collections that nobody makes, and calls that nobody serves."""
        mine = self._in_hand
        return (
            collection_rows.abandoned(connection, mine.owner, mine.creations),
            write_rows.abandoned_intents(connection, mine.owner, mine.intents),
        )

    async def _finish_deletion(self, deleted: Leftover, deadline: Deadline) -> None:
        await self._engine.drop_collection(deleted.physical, deadline.remaining())
        while not await self._journal.write(
            lambda c: collection_rows.purge(c, deleted.id, PURGE_ROWS), deadline
        ):
            pass

    async def _drop_garbage(self, littered: Littered, deadline: Deadline) -> None:
        # no more than was due when the round began: where documents are replaced all the time there
        # is always some, and the other steps have to come
        while due := await self._journal.read(
            lambda c: write_rows.due_garbage(c, littered, GARBAGE_GROUP), deadline
        ):
            await self._drop_rows(littered, due, deadline)

    async def _drop_rows(
        self, littered: Littered, due: Sequence[Garbage], deadline: Deadline
    ) -> None:
        keys = [key for one in due for key in one.row_keys()]
        # without its collection the rows are gone, which is all that is wanted
        with contextlib.suppress(NotFound):
            await self._engine.delete(littered.physical, keys, deadline.remaining())
        await self._journal.write(lambda c: write_rows.drop_garbage(c, littered.id, due), deadline)

    async def _forget_requests(self, deadline: Deadline) -> None:
        kept = REQUESTS_KEPT_SECONDS
        if await self._journal.read(lambda c: request_rows.any_older(c, kept), deadline):
            await self._journal.write(lambda c: request_rows.forget_older(c, kept), deadline)

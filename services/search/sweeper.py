"""Brings the engine in line with the journal, behind the callers' backs.

A write is over for its caller once the journal has it. What is left to do in the engine (rows of
old generations, of failed writes and of deleted collections) is noted in the journal in the same
transaction and done here, again and again until it has succeeded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from searchmesh_common.errors import NotFound, ServiceError
from searchmesh_common.logs import fields
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import Journal, collection_rows, request_rows, write_rows
from searchmesh_search.journal.clock import now_us

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from searchmesh_search.engine import Engine
    from searchmesh_search.journal.write_rows import Garbage

_log = logging.getLogger("searchmesh.sweeper")

GARBAGE_GROUP = 1_000
"""Generations dropped with one call of the engine."""
PURGE_ROWS = 5_000
"""Rows of a deleted collection dropped in one transaction; other writers wait meanwhile."""
REQUESTS_KEPT_SECONDS = 24 * 3600
"""How long a request_id is remembered."""


@dataclass(slots=True)
class InHand:
    """What this process has begun and not ended; whatever else the journal shows as begun is
    nobody's any more.
    """

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
        interval_seconds: float = 5.0,
        sweep_seconds: float = 30.0,
        late_insert_seconds: float = 60.0,
    ) -> None:
        """sweep_seconds: time for one round. late_insert_seconds: how long after a failed write its
        rows are dropped, because an insert that timed out may still arrive.
        """
        self._journal = journal
        self._engine = engine
        self._in_hand = in_hand
        self._interval_seconds = interval_seconds
        self._sweep_seconds = sweep_seconds
        self._late_insert_us = int(late_insert_seconds * 1e6)
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
            except ServiceError as error:
                level = logging.DEBUG if self._is_put_off else logging.WARNING
                _log.log(level, "sweeping is put off", extra=fields(reason=error.message))
                self._is_put_off = True
                # what woke us cannot be done now; not again before the interval is over
                await asyncio.sleep(self._interval_seconds)
            else:
                self._is_put_off = False
                await self._wait()

    async def recover(self, deadline: Deadline) -> None:
        """Undo in the journal what was begun and never ended; before anything is begun, that is all
        of it.
        """
        undone = await self._journal.write(self._undo_abandoned, deadline)
        if undone:
            _log.info("undid what was not acknowledged", extra=fields(count=undone))

    async def sweep(self, deadline: Deadline) -> None:
        """One round.

        Raises what the engine or the journal raised; what was done until then stays done.
        """
        if await self._journal.read(self._has_abandoned, deadline):
            await self.recover(deadline)
        await self._finish_deletions(deadline)
        await self._drop_garbage(deadline)
        await self._journal.write(
            lambda c: request_rows.forget_before(c, now_us() - REQUESTS_KEPT_SECONDS * 1_000_000),
            deadline,
        )

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), self._interval_seconds)

    def _has_abandoned(self, connection: Connection) -> bool:
        abandoned = self._abandoned_intents(connection)
        creating = collection_rows.creating(connection) - self._in_hand.creations
        return bool(abandoned or creating)

    def _abandoned_intents(self, connection: Connection) -> set[str]:
        return write_rows.pending_intents(connection) - self._in_hand.intents

    def _undo_abandoned(self, connection: Connection) -> int:
        creating = collection_rows.creating(connection) - self._in_hand.creations
        collection_rows.abandon(connection, creating)
        intents = self._abandoned_intents(connection)
        due_time = now_us() + self._late_insert_us
        return len(creating) + write_rows.roll_back(connection, intents, due_time)

    async def _finish_deletions(self, deadline: Deadline) -> None:
        for leftover in await self._journal.read(collection_rows.leftovers, deadline):
            await self._engine.drop_collection(leftover.physical, deadline.remaining())
            await self._purge(leftover.id, deadline)

    async def _purge(self, collection_id: int, deadline: Deadline) -> None:
        while not await self._journal.write(
            lambda c: collection_rows.purge(c, collection_id, PURGE_ROWS), deadline
        ):
            pass

    async def _drop_garbage(self, deadline: Deadline) -> None:
        while due := await self._journal.read(
            lambda c: write_rows.due_garbage(c, now_us(), GARBAGE_GROUP), deadline
        ):
            for physical, of_collection in _by_collection(due).items():
                await self._drop_rows(physical, of_collection, deadline)

    async def _drop_rows(self, physical: str, dropped: list[Garbage], deadline: Deadline) -> None:
        keys = [key for one in dropped for key in one.row_keys()]
        # without its collection the rows are gone, which is all that is wanted
        with contextlib.suppress(NotFound):
            await self._engine.delete(physical, keys, deadline.remaining())
        await self._journal.write(lambda c: write_rows.drop_garbage(c, dropped), deadline)


def _by_collection(due: Sequence[Garbage]) -> dict[str, list[Garbage]]:
    grouped: dict[str, list[Garbage]] = defaultdict(list)
    for one in due:
        grouped[one.physical].append(one)
    return grouped

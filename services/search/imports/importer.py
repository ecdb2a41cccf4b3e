"""Works on the batches of all imports: each worker claims one, stores it, claims the next.

Any replica may claim any batch, in the order in which they were received. What a batch cannot do
without (the encoder, the engine) may be away: then all batches of its import wait a while, those of
others do not, and the import says what it waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common.errors import Internal, Overloaded, ServiceError
from searchmesh_common.logs import fields
from searchmesh_search.deadline import Deadline
from searchmesh_search.imports.batches import HELD_UP, HOPELESS, BatchLostError
from searchmesh_search.imports.failures import status_bytes
from searchmesh_search.journal import Journal, batch_rows, import_rows
from searchmesh_search.journal.batch_rows import Claimant
from searchmesh_search.journal.import_rows import State
from searchmesh_search.wait_within import wait_within

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from searchmesh_search.imports.batches import Batches
    from searchmesh_search.imports.changes import Changes
    from searchmesh_search.journal.batch_rows import Batch
    from searchmesh_search.metrics import ImportMetrics

_log = logging.getLogger("searchmesh.imports")

JOURNAL_SECONDS = 30.0


@dataclass(slots=True)
class _Hold:
    """Why nothing of an import is tried at present."""

    until: float
    """`time.monotonic()` seconds."""
    seconds: float


class Importer:
    """Runs the workers of this replica."""

    def __init__(
        self,
        journal: Journal,
        batches: Batches,
        changes: Changes,
        metrics: ImportMetrics,
        replica_id: str,
        *,
        wake_sweeper: Callable[[], None],
        poll_seconds: float = 1.0,
        first_hold_seconds: float = 0.5,
        most_hold_seconds: float = 15.0,
    ) -> None:
        """poll_seconds: how often it looks for batches that it is not told of: those of other
        replicas, and those put off.

        first_hold_seconds, most_hold_seconds: how long an import is left alone when something that
        it needs is away; each time twice as long as the time before.
        """
        self._journal = journal
        self._batches = batches
        self._changes = changes
        self._metrics = metrics
        self._replica_id = replica_id
        self._wake_sweeper = wake_sweeper
        self._poll_seconds = poll_seconds
        self._first_hold_seconds = first_hold_seconds
        self._most_hold_seconds = most_hold_seconds
        self._in_hand: set[tuple[str, int]] = set()
        self._holds: dict[str, _Hold] = {}
        self._claiming = asyncio.Lock()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be a batch to work on."""
        self._woken.set()

    async def run(self, workers: int) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            self._woken.clear()
            batch = await self._claim()
            if batch is None:
                await wait_within(self._woken, self._poll_seconds)
                continue
            self._woken.set()  # there may be another one, for another worker
            try:
                with self._metrics.in_hand():
                    await self._store(batch)
            finally:
                self._in_hand.discard(batch.key)
            self._changes.tell(batch.import_id)

    async def _claim(self) -> Batch | None:
        """The next batch; None where there is none, or the journal is away, as health tells."""
        # one at a time: a batch of this replica that no worker has in hand is anyone's
        async with self._claiming:
            claimant = Claimant(self._replica_id, tuple(self._in_hand), self._held_up())
            deadline = Deadline.after(JOURNAL_SECONDS)
            try:
                # looking takes no lock, and mostly there is none
                if not await self._journal.read(lambda c: batch_rows.is_due(c, claimant), deadline):
                    return None
                batch = await self._journal.write(lambda c: batch_rows.claim(c, claimant), deadline)
            except ServiceError:
                return None
            if batch is not None:
                self._in_hand.add(batch.key)
            return batch

    async def _store(self, batch: Batch) -> None:
        try:
            left_garbage = await self._batches.store(batch)
        except BatchLostError:
            self._holds.pop(batch.import_id, None)
        except HELD_UP as error:
            await self._put_off(batch, error)
        except HOPELESS as error:
            await self._fail(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the batch is tried again
            _log.exception(
                "a batch failed",
                extra=fields(operation=batch.import_id, position=batch.position),
            )
            reason = error if isinstance(error, ServiceError) else Internal("internal error")
            await self._put_off(batch, reason)
        else:
            self._holds.pop(batch.import_id, None)
            if left_garbage:
                self._wake_sweeper()

    async def _put_off(self, batch: Batch, error: ServiceError) -> None:
        seconds = self._hold(batch.import_id, error)
        self._metrics.put_off()
        reason = status_bytes(error)

        def put_off(connection: Connection) -> None:
            batch_rows.put_off(connection, batch, seconds)
            import_rows.hold_up(connection, batch.import_id, reason)

        # where the journal is away, the batch stays ours and is claimed anew
        with contextlib.suppress(ServiceError):
            await self._journal.write(put_off, Deadline.after(JOURNAL_SECONDS))

    async def _fail(self, batch: Batch, error: ServiceError) -> None:
        _log.error(
            "an import failed", extra=fields(operation=batch.import_id, reason=error.message)
        )
        self._holds.pop(batch.import_id, None)
        reason = status_bytes(error)
        with contextlib.suppress(ServiceError):
            await self._journal.write(
                lambda c: import_rows.end(c, batch.import_id, State.FAILED, reason),
                Deadline.after(JOURNAL_SECONDS),
            )
        self._wake_sweeper()

    def _hold(self, import_id: str, error: ServiceError) -> float:
        """Leave an import alone for a while; returns the seconds."""
        if isinstance(error, Overloaded):
            seconds = error.retry_after_seconds
        else:
            seconds = self._first_hold_seconds
        now = time.monotonic()
        hold = self._holds.get(import_id)
        if hold is not None:
            # batches that were tried side by side failed for one reason
            seconds = hold.seconds if hold.until > now else max(seconds, 2 * hold.seconds)
        seconds = min(seconds, self._most_hold_seconds)
        self._holds[import_id] = _Hold(now + seconds, seconds)
        return seconds

    def _held_up(self) -> tuple[str, ...]:
        now = time.monotonic()
        return tuple(one for one, hold in self._holds.items() if hold.until > now)

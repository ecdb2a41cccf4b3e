"""How fast imports get on: looked at every second, over the last ten."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from searchmesh_common.errors import ServiceError
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import Journal, batch_rows, import_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from searchmesh_search.journal.import_rows import ImportRow
    from searchmesh_search.metrics import ImportMetrics

SPAN_SECONDS = 10.0
LOOK_SECONDS = 1.0


class Rates:
    """Documents a second of every import that has not ended, as this replica has seen them."""

    def __init__(self, journal: Journal, metrics: ImportMetrics) -> None:
        self._journal = journal
        self._metrics = metrics
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                active, waiting = await self._journal.read(
                    _active_and_waiting, Deadline.after(SPAN_SECONDS)
                )
            except ServiceError:
                pass  # health tells that the journal is away
            else:
                self._metrics.waiting(*waiting)
                self.see({one.id: one.done_count for one in active}, time.monotonic())
            await asyncio.sleep(LOOK_SECONDS)

    def see(self, done: Mapping[str, int], now: float) -> None:
        """Take note of how many documents of each import are done at a moment."""
        self._seen = {one: self._seen.get(one, deque()) for one in done}
        for import_id, seen in self._seen.items():
            seen.append((now, done[import_id]))
            while seen[-1][0] - seen[0][0] > SPAN_SECONDS:
                seen.popleft()

    def documents_per_second(self, import_id: str) -> float:
        """0 for an import that has ended, or was not seen twice yet."""
        seen = self._seen.get(import_id)
        if seen is None or len(seen) < 2:
            return 0.0
        (began, before), (ended, after) = seen[0], seen[-1]
        return (after - before) / (ended - began)


def _active_and_waiting(connection: Connection) -> tuple[Sequence[ImportRow], tuple[int, float]]:
    return import_rows.active(connection), batch_rows.waiting(connection)

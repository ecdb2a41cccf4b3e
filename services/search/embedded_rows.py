"""Tells when a collection has outgrown the embedded engine, which compares a query with every row.

benchmarks/embedded_rows.py measures how it slows, docs/decisions/second-engine.md says what
follows.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from searchmesh_common.errors import NotFound, ServiceError
from searchmesh_common.logs import fields
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import Journal, collection_rows

if TYPE_CHECKING:
    from searchmesh_search.engine import Engine

_log = logging.getLogger("searchmesh.engine")

_LOOK_SECONDS = 60.0
"""Of one look at every collection."""

_REMEDY = (
    "searches of it are slow here: move to a Milvus server (SEARCH_ENGINE), for which "
    "docs/operations.md has the steps"
)


class Listener(Protocol):
    """Who is told of the largest collection."""

    def embedded_rows(self, rows: int) -> None:
        """Rows of the largest collection."""


class EmbeddedRows:
    """Counts the rows of each collection now and then."""

    def __init__(self, journal: Journal, engine: Engine, listener: Listener, warning: int) -> None:
        """warning: the rows of one collection from which on to warn."""
        self._journal = journal
        self._engine = engine
        self._listener = listener
        self._warning = warning
        self._told: set[str] = set()

    async def run(self, interval_seconds: float) -> None:
        """Look for ever; a look that fails is made good by the next one."""
        while True:
            try:
                await self.look()
            except ServiceError as error:
                # health tells that the engine or the journal is away
                _log.debug("the rows cannot be counted", extra=fields(reason=error.message))
            await asyncio.sleep(interval_seconds)

    async def look(self) -> None:
        """Warn of each collection that is past the bound, once until it is below it again."""
        deadline = Deadline.after(_LOOK_SECONDS)
        collections = await self._journal.read(collection_rows.ready, deadline)
        rows = {one.physical: await self._rows(one.physical, deadline) for one in collections}
        large = {physical for physical, count in rows.items() if count >= self._warning}
        for one in collections:
            if one.physical in large - self._told:
                _log.warning(
                    "a collection has outgrown the embedded engine",
                    extra=fields(
                        collection=one.name,
                        rows=rows[one.physical],
                        warning=self._warning,
                        remedy=_REMEDY,
                    ),
                )
        self._told = large
        self._listener.embedded_rows(max(rows.values(), default=0))

    async def _rows(self, physical: str, deadline: Deadline) -> int:
        try:
            return await self._engine.count_rows(physical, deadline.remaining())
        except NotFound:
            return 0  # deleted meanwhile, or lost, which is told at the start

"""Which documents a filter is true for: asked of the engine, decided by the journal.

An engine knows rows: those of documents as they are, but also of what was replaced or deleted a
moment ago. The journal knows which of them readers may see, and says so of all that were found at
one moment.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_search.engine import row_key
from searchmesh_search.engine_losses import losses_told
from searchmesh_search.filters.check import checked
from searchmesh_search.filters.filter import terms
from searchmesh_search.journal import Journal, collection_rows, document_rows
from searchmesh_search.journal.chunks import chunks
from searchmesh_search.journal.clock import SECOND_US, now_us
from searchmesh_search.off_loop import off_loop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.engine import Engine, FoundRow
    from searchmesh_search.filters.filter import Filter

PAGE_ROWS = 10_000
"""Rows that the engine is asked for at once."""

MAX_REPEATS = 10
"""Times that the engine is asked again about documents that were replaced meanwhile. Each time
takes milliseconds, so that few are replaced in it once more."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """What the journal says of rows that were found."""

    current: Sequence[FoundRow]
    """Those that readers see."""
    overtaken: Sequence[str]
    """Keys of the first rows of documents that were replaced since the engine was asked: it found
    them as they were before."""


class Matching:
    """Finds documents by their attributes alone."""

    def __init__(self, journal: Journal, engine: Engine) -> None:
        self._journal = journal
        self._engine = engine

    async def rows(
        self, collection: Collection, where: Filter | None, deadline: Deadline, *, field: str = ""
    ) -> Sequence[FoundRow]:
        """The first row of each document that a filter is true for, all as of one moment.

        where: None for all documents. field: declared; its values come with the rows.

        Raises InvalidRequest for a filter that does not fit the collection, NotFound when the
        collection was deleted meanwhile, DataLoss when the engine has lost it, FailedPrecondition
        for what the engine cannot be asked, Unavailable, DeadlineExceeded.
        """
        fields = collection.spec.fields
        if where is not None:
            where = await off_loop(terms(where), checked, where, fields)
        asked = time.monotonic()
        found = await self._all(collection, where, field, deadline)
        for repeats_left in reversed(range(MAX_REPEATS + 1)):
            settled = await self._settle(collection, found, asked, deadline)
            if not settled.overtaken or not repeats_left:
                break
            asked = time.monotonic()
            found = list(settled.current)
            for keys in chunks(settled.overtaken):
                found += await self._page(collection, where, field, deadline, keys=keys)
        return settled.current

    async def count(self, collection: Collection, where: Filter, deadline: Deadline) -> int:
        """Documents that a filter is true for. Raises as `rows`."""
        return len(await self.rows(collection, where, deadline))

    async def _all(
        self, collection: Collection, where: Filter | None, field: str, deadline: Deadline
    ) -> list[FoundRow]:
        found: list[FoundRow] = []
        page = await self._page(collection, where, field, deadline)
        found += page
        while len(page) == PAGE_ROWS:
            page = await self._page(collection, where, field, deadline, after=page[-1].key)
            found += page
        return found

    async def _page(
        self,
        collection: Collection,
        where: Filter | None,
        field: str,
        deadline: Deadline,
        *,
        after: str = "",
        keys: Sequence[str] = (),
    ) -> list[FoundRow]:
        async with losses_told(self._journal, collection, deadline):
            return await self._engine.query(
                collection.physical,
                where,
                PAGE_ROWS,
                deadline.remaining(),
                after=after,
                keys=keys,
                field=field,
            )

    async def _settle(
        self, collection: Collection, found: Sequence[FoundRow], asked: float, deadline: Deadline
    ) -> _Settled:
        return await self._journal.read(lambda c: _settled(c, collection, found, asked), deadline)


def _settled(
    connection: Connection, collection: Collection, found: Sequence[FoundRow], asked: float
) -> _Settled:
    collection_rows.require(connection, collection.id, collection.name)
    rows = {(row.document_id, row.generation): row for row in found}
    ids = {document_id for document_id, _ in rows}
    since = now_us(connection) - int((time.monotonic() - asked) * SECOND_US)
    shown, overtaken = [], []
    for document_id, generation, update_time in document_rows.generations(
        connection, collection.id, ids
    ):
        if (document_id, generation) in rows:
            shown.append(rows[document_id, generation])
        elif update_time >= since:
            overtaken.append(row_key(document_id, generation, 0))
    return _Settled(shown, overtaken)

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
"""Times that the journal is asked again because documents were replaced, and their rows dropped,
since it had said what readers see."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What readers see at one moment, of a collection that was asked about before it."""

    rows: Sequence[FoundRow]
    """Those of the rows found that they see."""
    unknown: Sequence[str]
    """Keys of the first rows of documents that were written since the engine was asked, in a
    generation that it did not give."""


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
            seen = await self._see(collection, found, asked, deadline)
            matching, gone = await self._among(collection, where, field, seen.unknown, deadline)
            if not gone or not repeats_left:
                break
        return [*seen.rows, *matching]

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

    async def _among(
        self,
        collection: Collection,
        where: Filter | None,
        field: str,
        keys: Sequence[str],
        deadline: Deadline,
    ) -> tuple[Sequence[FoundRow], bool]:
        """The rows of these keys that a filter is true for, and whether any was dropped already."""
        matching: list[FoundRow] = []
        held = 0
        for some in chunks(keys):
            matching += await self._page(collection, where, field, deadline, keys=some)
            held += len(await self._page(collection, None, "", deadline, keys=some))
        return matching, held < len(keys)

    async def _see(
        self, collection: Collection, found: Sequence[FoundRow], asked: float, deadline: Deadline
    ) -> _Seen:
        return await self._journal.read(lambda c: _seen(c, collection, found, asked), deadline)


def _seen(
    connection: Connection, collection: Collection, found: Sequence[FoundRow], asked: float
) -> _Seen:
    collection_rows.require(connection, collection.id, collection.name)
    rows = {(row.document_id, row.generation): row for row in found}
    ids = {document_id for document_id, _ in rows}
    current = document_rows.generations(connection, collection.id, ids)
    since_us = now_us(connection) - int((time.monotonic() - asked) * SECOND_US)
    written = document_rows.changed_since(connection, collection.id, since_us)
    return _Seen(
        [rows[one] for one in current if one in rows],
        [row_key(*one, 0) for one in written if one not in rows],
    )

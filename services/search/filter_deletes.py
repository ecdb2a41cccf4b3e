"""Deletes documents by a filter: all that it is true for, in one transaction of the journal."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from searchmesh_search.document_writer import DELETE
from searchmesh_search.filters.writing import write
from searchmesh_search.journal import (
    Journal,
    collection_rows,
    deletion_rows,
    document_rows,
    request_rows,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.filters.filter import Filter
    from searchmesh_search.matching import Matching
    from searchmesh_search.sweeper import Sweeper


class FilterDeletes:
    """Deletes by filter; `DocumentWriter.delete` does by id."""

    def __init__(self, journal: Journal, matching: Matching, sweeper: Sweeper) -> None:
        self._journal = journal
        self._matching = matching
        self._sweeper = sweeper

    async def delete(
        self, collection: Collection, where: Filter, request_id: str, deadline: Deadline
    ) -> int:
        """Delete the documents that a filter is true for, for all readers at once; returns how many
        of them there were. One that is replaced meanwhile may count as written afterwards, and
        stay.

        Repeating a request_id deletes nothing more and returns the same. Raises AlreadyExists for a
        request_id used for another deletion, otherwise as `Matching.rows`.
        """
        digest = _digest(collection, where)
        before = await self._journal.read(
            lambda c: request_rows.recall(c, DELETE, request_id, digest), deadline
        )
        if before is not None:
            return int(before)
        rows = await self._matching.rows(collection, where, deadline)
        generations = {row.document_id: row.generation for row in rows}
        removed = await self._journal.write(
            lambda c: _delete(c, collection, generations, request_id, digest), deadline
        )
        if removed:
            self._sweeper.wake()
        return removed


def _digest(collection: Collection, where: Filter) -> bytes:
    described = json.dumps([collection.id, {"filter": write(where)}])
    return hashlib.sha256(described.encode()).digest()


def _delete(
    connection: Connection,
    collection: Collection,
    generations: Mapping[str, int],
    request_id: str,
    digest: bytes,
) -> int:
    removed_before = request_rows.recall(connection, DELETE, request_id, digest)
    if removed_before is not None:
        return int(removed_before)
    collection_rows.require(connection, collection.id, collection.name)
    removed = document_rows.remove_generations(connection, collection.id, generations)
    deletion_rows.add(connection, collection.id, removed)
    request_rows.remember(connection, DELETE, request_id, digest, str(len(removed)))
    return len(removed)

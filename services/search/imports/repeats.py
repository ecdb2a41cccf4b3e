"""Documents that are sent again: compared with those received before, and not stored again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_common.errors import AlreadyExists
from searchmesh_search.deadline import Deadline
from searchmesh_search.journal import batch_rows
from searchmesh_search.journal.import_rows import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from searchmesh_search.imports.intake import Arrival
    from searchmesh_search.journal import Journal
    from searchmesh_search.journal.batch_rows import Digests
    from searchmesh_search.journal.import_rows import ImportRow

DIGEST_BYTES = 8

_READ_SECONDS = 30.0


class Repeats:
    """One stream's documents beside those that its import has."""

    def __init__(self, journal: Journal, of_import: ImportRow, position: int) -> None:
        """position: of the stream's first document in the import."""
        self._journal = journal
        self._import = of_import
        self._position = position
        self._batch: Digests | None = None

    async def new(self, arrivals: Sequence[Arrival]) -> Sequence[Arrival]:
        """Those of the documents, which follow those given before, that the import does not have.

        Raises AlreadyExists for one that differs from what the import has in its place.
        """
        repeated = min(len(arrivals), max(0, self._import.received_count - self._position))
        for arrival in arrivals[:repeated]:
            if arrival.digest != await self._digest():
                raise self._another("another document than before")
            self._position += 1
        new = arrivals[repeated:]
        if new and self._import.state is not State.RECEIVING:
            raise self._another("a document after the last of before")
        self._position += len(new)
        return new

    def check_end(self) -> None:
        """Raises AlreadyExists where the stream has ended before what the import has."""
        if self._position < self._import.received_count:
            raise self._another("the end, where there was a document before")

    async def _digest(self) -> bytes:
        """The digest of the document that the import has at this position."""
        if self._batch is None or self._offset(self._batch) >= len(self._batch.digests):
            before = self._batch
            self._batch = await self._journal.read(
                lambda c: self._find(c, before), Deadline.after(_READ_SECONDS)
            )
            if self._batch is None:
                raise self._another("an import that is being forgotten")
        start = self._offset(self._batch)
        return self._batch.digests[start : start + DIGEST_BYTES]

    def _find(self, connection: Connection, before: Digests | None) -> Digests | None:
        if before is None:
            return batch_rows.digests_at(connection, self._import.id, self._position)
        return batch_rows.digests_of(connection, self._import.id, before.number + 1)

    def _offset(self, batch: Digests) -> int:
        return (self._position - batch.position) * DIGEST_BYTES

    def _another(self, what: str) -> AlreadyExists:
        return AlreadyExists(
            "import",
            self._import.request_id,
            f"request_id: {self._import.request_id!r} was used for other documents: at position "
            f"{self._position} is {what}; send the same again, or use a new request_id",
        )

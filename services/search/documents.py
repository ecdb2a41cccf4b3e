"""Documents: read, listed and counted, and confirmed to be what the engine says they are."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from searchmesh_common import page_tokens
from searchmesh_common.errors import DataLoss, NotFound
from searchmesh_search.content_reader import read_contents
from searchmesh_search.engine_losses import losses_told
from searchmesh_search.journal import Journal, collection_rows, document_rows
from searchmesh_search.journal.clock import now_us, to_datetime
from searchmesh_search.parts import parts
from searchmesh_search.segments import Segments, mean_vector, spans_from_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
    from datetime import datetime

    from sqlalchemy import Connection

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.content_store import ContentRef, ContentStore
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.engine import Engine
    from searchmesh_search.journal.document_rows import DocumentRow

Found = TypeVar("Found")

MAX_PAGE_BYTES = 8 << 20
"""A page ends early once its documents have grown to this."""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is read back."""

    id: str
    stored: bytes
    update_time: datetime
    segments: Segments | None = None
    """What the engine holds, where it was asked for."""


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Some documents, and the token of the page that follows; empty after the last."""

    documents: Sequence[StoredDocument]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What the journal says of an engine's answer."""

    rows: Mapping[tuple[str, int], DocumentRow]
    """Of the generations that readers may see, what the journal has of them."""
    overtaken: bool
    """Whether a document was replaced since the engine was asked, which therefore found it only as
    it was before; asking again finds it as it is.
    """


class Documents:
    """The documents of every collection."""

    def __init__(
        self,
        journal: Journal,
        contents: ContentStore,
        engine: Engine,
    ) -> None:
        self._journal = journal
        self._contents = contents
        self._engine = engine

    async def get(
        self, collection: Collection, document_id: str, deadline: Deadline
    ) -> StoredDocument:
        """Raises NotFound, DataLoss when its content is damaged."""
        find = partial(self._find, collection, document_id, deadline)
        row, (content,) = await read_contents(
            self._contents, await find(), lambda row: [row.content], find
        )
        return stored_document(row, content)

    async def get_with_vector(
        self, collection: Collection, document_id: str, deadline: Deadline
    ) -> StoredDocument:
        """The same with the vectors that the engine holds. Raises DataLoss when the engine lacks
        what the journal says it has, too.
        """
        find = partial(self._find_segments, collection, document_id, deadline)
        (row, segments), (content,) = await read_contents(
            self._contents, await find(), lambda found: [found[0].content], find
        )
        return stored_document(row, content, segments)

    async def vector(
        self, collection: Collection, document_id: str, deadline: Deadline
    ) -> np.ndarray:
        """The vector that a document is compared by as a whole: its own, or the mean of its
        segments'.

        Raises NotFound, DataLoss when the engine lacks what the journal says it has,
        FailedPrecondition where the segments have no mean to compare by.
        """
        _, segments = await self._find_segments(collection, document_id, deadline)
        return mean_vector(segments.vectors, collection.space.metric)

    async def segments(
        self, collection: Collection, document_ids: Iterable[str], deadline: Deadline
    ) -> dict[str, Segments]:
        """What the engine holds of those documents that there are, by id. Raises DataLoss as
        `vector`.
        """
        rows = await self.rows(collection, document_ids, deadline)
        found = await self.with_segments(collection, list(rows.values()), deadline)
        return {row.document_id: segments for row, segments in found}

    async def list_page(
        self, collection: Collection, page_size: int, page_token: str, deadline: Deadline
    ) -> DocumentPage:
        """Documents in order of id. A page ends early where they are large.

        Raises InvalidRequest for a token of another list, NotFound when the collection was deleted
        meanwhile, DataLoss when a content is damaged.
        """
        scope = ("documents", str(collection.id))
        after = page_tokens.decode(scope, page_token)
        find = partial(self._find_page, collection, after, page_size, deadline)
        (rows, more), contents = await read_contents(
            self._contents, await find(), lambda found: [row.content for row in found[0]], find
        )
        token = page_tokens.encode(scope, rows[-1].document_id) if more else ""
        documents = [
            stored_document(row, content) for row, content in zip(rows, contents, strict=True)
        ]
        return DocumentPage(documents, token)

    async def count(self, collection: Collection, deadline: Deadline) -> int:
        """Documents there are. Raises NotFound when the collection was deleted meanwhile."""
        return await self._journal.read(
            lambda c: collection_rows.require(c, collection.id, collection.name), deadline
        )

    async def confirm(
        self,
        collection: Collection,
        found: Iterable[tuple[str, int]],
        asked: float,
        deadline: Deadline,
    ) -> Confirmed:
        """Which of the generations that the engine found readers may see.

        found: documents and their generations. asked: when the engine was, `time.monotonic()`
        seconds. Raises NotFound when the collection was deleted meanwhile.
        """
        return await self._journal.read(
            lambda c: _confirmed(c, collection, set(found), asked), deadline
        )

    async def stored(
        self,
        found: Found,
        refs_of: Callable[[Found], Sequence[ContentRef]],
        find_again: Callable[[], Awaitable[Found]],
    ) -> tuple[Found, list[bytes]]:
        """What was stored, by the references that `confirm` gave; see `read_contents`."""
        return await read_contents(self._contents, found, refs_of, find_again)

    async def rows(
        self, collection: Collection, document_ids: Iterable[str], deadline: Deadline
    ) -> Mapping[str, DocumentRow]:
        """What the journal has of those documents that there are.

        Raises NotFound when the collection was deleted meanwhile.
        """
        return await self._journal.read(lambda c: _rows(c, collection, document_ids), deadline)

    async def rows_after(
        self, collection: Collection, after: str, limit: int, deadline: Deadline
    ) -> Sequence[DocumentRow]:
        """What the journal has of the documents that follow the id `after`, in order of id. Raises
        as `rows` does.
        """
        return await self._journal.read(
            lambda c: _rows_after(c, collection, after, limit), deadline
        )

    async def with_segments(
        self, collection: Collection, rows: Sequence[DocumentRow], deadline: Deadline
    ) -> list[tuple[DocumentRow, Segments]]:
        """Each document with the vectors that the engine holds of the same generation.

        A document that was replaced since it was found comes with its new row, one that was deleted
        is left out. Raises as `rows` does, and DataLoss when the engine lacks what the journal says
        it has.
        """
        found: dict[str, tuple[DocumentRow, Segments]] = {}
        wanted = rows
        while wanted:
            keys = [key for row in wanted for key in row.row_keys()]
            async with losses_told(self._journal, collection, deadline):
                vectors = await self._engine.vectors(
                    collection.physical, keys, deadline.remaining()
                )
            for row in wanted:
                segments = segments_of(row, vectors)
                if segments is not None:
                    found[row.document_id] = (row, segments)
            lacking = [row for row in wanted if row.document_id not in found]
            wanted = await self._replacing(collection, lacking, deadline) if lacking else []
        return [found[row.document_id] for row in rows if row.document_id in found]

    async def _replacing(
        self, collection: Collection, lacking: Sequence[DocumentRow], deadline: Deadline
    ) -> Sequence[DocumentRow]:
        """The documents as they are now; of none the engine had the vectors a moment ago."""
        now = await self.rows(collection, [row.document_id for row in lacking], deadline)
        for row in lacking:
            if row.document_id in now and now[row.document_id].generation == row.generation:
                raise DataLoss(
                    f"the engine has lost vectors of document {row.document_id!r} in collection "
                    f"{collection.name!r}; upsert the document again, or restore the engine's data"
                )
        return list(now.values())

    async def _find(
        self, collection: Collection, document_id: str, deadline: Deadline
    ) -> DocumentRow:
        rows = await self.rows(collection, [document_id], deadline)
        if document_id not in rows:
            raise missing_document(collection, document_id)
        return rows[document_id]

    async def _find_segments(
        self, collection: Collection, document_id: str, deadline: Deadline
    ) -> tuple[DocumentRow, Segments]:
        """A document and the vectors of the same generation, also while it is being replaced."""
        row = await self._find(collection, document_id, deadline)
        found = await self.with_segments(collection, [row], deadline)
        if not found:
            raise missing_document(collection, document_id)
        return found[0]

    async def _find_page(
        self, collection: Collection, after: str, page_size: int, deadline: Deadline
    ) -> tuple[Sequence[DocumentRow], bool]:
        """Rows of a page, and whether there are more."""
        rows = await self.rows_after(collection, after, page_size + 1, deadline)
        shown = _fitting(rows[:page_size])
        return shown, len(rows) > len(shown)


def stored_document(
    row: DocumentRow, content: bytes, segments: Segments | None = None
) -> StoredDocument:
    """A document from what the journal, the content store and the engine have of it."""
    return StoredDocument(row.document_id, content, row.update_time, segments)


def missing_document(collection: Collection, document_id: str) -> NotFound:
    """What is raised for a document that is not there."""
    return NotFound(
        "document", document_id, f"no document {document_id!r} in collection {collection.name!r}"
    )


def segments_of(row: DocumentRow, vectors: Mapping[str, np.ndarray]) -> Segments | None:
    """A document's segments, of the vectors by row key that the engine gave for its `row_keys`;
    None where one is missing.
    """
    keys = row.row_keys()
    if any(key not in vectors for key in keys):
        return None
    spans = None if row.spans is None else spans_from_bytes(row.spans)
    return Segments(np.stack([vectors[key] for key in keys]), spans)


def _rows(
    connection: Connection, collection: Collection, document_ids: Iterable[str]
) -> Mapping[str, DocumentRow]:
    collection_rows.require(connection, collection.id, collection.name)
    return document_rows.find(connection, collection.id, document_ids)


def _confirmed(
    connection: Connection, collection: Collection, wanted: Set[tuple[str, int]], asked: float
) -> Confirmed:
    rows = _rows(connection, collection, {document_id for document_id, _ in wanted})
    keyed = {(row.document_id, row.generation): row for row in rows.values()}
    replaced = [row.update_time for key, row in keyed.items() if key not in wanted]
    return Confirmed(
        {key: row for key, row in keyed.items() if key in wanted},
        bool(replaced) and max(replaced) >= _by_journal_clock(connection, asked),
    )


def _by_journal_clock(connection: Connection, asked: float) -> datetime:
    """When `asked`, `time.monotonic()` seconds, was; rather a little too early than too late."""
    now = to_datetime(now_us(connection))
    return now - timedelta(seconds=time.monotonic() - asked)


def _rows_after(
    connection: Connection, collection: Collection, after: str, limit: int
) -> Sequence[DocumentRow]:
    collection_rows.require(connection, collection.id, collection.name)
    return document_rows.page(connection, collection.id, after, limit)


def _fitting(rows: Sequence[DocumentRow]) -> Sequence[DocumentRow]:
    """The first rows whose contents fit a page, at least one of them."""
    pages = parts(rows, lambda row: row.content.length, most=len(rows), most_size=MAX_PAGE_BYTES)
    return next(pages, [])

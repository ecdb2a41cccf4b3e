"""Exports: every document of a collection, part after part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_search.content_reader import read_contents
from searchmesh_search.documents import Documents, StoredDocument, stored_document
from searchmesh_search.engine import VectorKind
from searchmesh_search.parts import parts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.content_store import ContentRef, ContentStore
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.journal.document_rows import DocumentRow
    from searchmesh_search.segments import Segments

    Found = Sequence[tuple[DocumentRow, Segments | None]]

PART_BYTES = 1 << 20
"""A part has about so many bytes, or one document."""

PAGE_ROWS = 500
"""Documents looked up in the journal at once; also the most of a part."""

_OVERHEAD_BYTES = 100
"""What a document takes beyond its content and its vectors."""


class Exporter:
    """Reads collections from one end to the other, in bounded memory."""

    def __init__(self, documents: Documents, contents: ContentStore) -> None:
        self._documents = documents
        self._contents = contents

    async def export(
        self,
        collection: Collection,
        after: str,
        step: Callable[[], Deadline],
        *,
        with_vectors: bool,
    ) -> AsyncGenerator[Sequence[StoredDocument]]:
        """Documents in order of id, those after the id `after`, in parts of at least one.

        A document that is there from begin to end comes once, in one of the states that it is in
        meanwhile. step: gives the deadline of each step; how long the whole takes is up to who
        reads it.

        Raises NotFound when the collection was deleted meanwhile, DataLoss when a content is
        damaged or a vector lost.
        """
        vector_bytes = _vector_bytes(collection) if with_vectors else 0

        def size_of(row: DocumentRow) -> int:
            return row.content.length + row.segments * vector_bytes + _OVERHEAD_BYTES

        while rows := await self._documents.rows_after(collection, after, PAGE_ROWS, step()):
            for part in parts(rows, size_of, most=PAGE_ROWS, most_size=PART_BYTES):
                documents = await self._read(collection, part, step(), with_vectors)
                if documents:
                    yield documents
            after = rows[-1].document_id

    async def _read(
        self,
        collection: Collection,
        rows: Sequence[DocumentRow],
        deadline: Deadline,
        with_vectors: bool,
    ) -> list[StoredDocument]:
        """Those of the documents that are still there."""

        async def find(rows: Sequence[DocumentRow]) -> Found:
            if with_vectors:
                return await self._documents.with_segments(collection, rows, deadline)
            return [(row, None) for row in rows]

        async def find_again() -> Found:
            ids = [row.document_id for row in rows]
            now = await self._documents.rows(collection, ids, deadline)
            return await find([now[one] for one in ids if one in now])

        found, contents = await read_contents(self._contents, await find(rows), _refs, find_again)
        return [
            stored_document(row, content, segments)
            for (row, segments), content in zip(found, contents, strict=True)
        ]


def _refs(found: Found) -> list[ContentRef]:
    return [row.content for row, _ in found]


def _vector_bytes(collection: Collection) -> int:
    """Of one vector as it is answered."""
    space = collection.space
    return space.dimension * 4 if space.kind is VectorKind.FLOAT else space.dimension // 8

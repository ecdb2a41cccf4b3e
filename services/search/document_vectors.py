"""What the engine is to hold of documents: the vectors they were given with, or those of their
contents; one for the whole, or one for each segment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from searchmesh_common.errors import ServiceError, within
from searchmesh_search.content import Content, Modality
from searchmesh_search.engine import Row
from searchmesh_search.journal.write_rows import Write
from searchmesh_search.off_loop import off_loop
from searchmesh_search.segments import Segments, spans_to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from searchmesh_search.collection_spec import Collection, Segmentation
    from searchmesh_search.content_store import ContentRef
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.document_checks import PreparedDocument


class Encode(Protocol):
    """Turns documents' contents into vectors of one model."""

    async def __call__(
        self,
        model: str,
        fingerprint: str,
        segmentation: Segmentation,
        contents: Sequence[Content],
        deadline: Deadline,
    ) -> Sequence[Segments | ServiceError]:
        """The segments, or that content's own error, for each content; WHOLE makes one segment
        without a span.

        Raises FailedPrecondition when the model no longer has that fingerprint, Unavailable,
        Overloaded, DeadlineExceeded.
        """


async def vectors_of(
    encode: Encode,
    collection: Collection,
    prepared: Sequence[PreparedDocument],
    errors: list[ServiceError | None],
    deadline: Deadline,
) -> dict[int, Segments]:
    """Segments by a document's place; a document that gets none gets its error.

    Raises what `encode` raises.
    """
    given = sum(len(one.document.segments) for one in prepared)
    vectors = await off_loop(given, _given, prepared)
    contents = {
        one.place: one.document.content
        for one in prepared
        if one.place not in vectors and one.document.content is not None
    }
    if contents:
        assert collection.model is not None
        encoded = await encode(
            collection.model,
            collection.fingerprint,
            collection.spec.segmentation,
            list(contents.values()),
            deadline,
        )
        for place, outcome in zip(contents, encoded, strict=True):
            if isinstance(outcome, ServiceError):
                errors[place] = within(outcome, f"documents[{place}].content")
            else:
                vectors[place] = outcome
    return vectors


def writes_of(
    documents: Sequence[PreparedDocument],
    vectors: Mapping[int, Segments],
    generations: Sequence[int],
    refs: Sequence[ContentRef],
) -> list[Write]:
    """One generation of each document, as the journal notes it."""
    return [
        _write(one.document.id, generation, vectors[one.place], ref)
        for one, generation, ref in zip(documents, generations, refs, strict=True)
    ]


def rows_of(
    collection: Collection,
    documents: Sequence[PreparedDocument],
    vectors: Mapping[int, Segments],
    writes: Sequence[Write],
) -> list[Row]:
    """The same, as the engine stores it."""
    is_lexical = collection.spec.lexical is not None
    rows = []
    for one, write in zip(documents, writes, strict=True):
        segments = vectors[one.place]
        content = one.document.content if is_lexical else None
        rows += [
            Row(write.document_id, write.generation, segment, vector, one.fields, text)
            for segment, (vector, text) in enumerate(
                zip(segments.vectors, _texts(content, segments), strict=True)
            )
        ]
    return rows


def _texts(content: Content | None, segments: Segments) -> list[str]:
    """The text of each segment; empty for one that is of no text."""
    if content is None or content.modality is not Modality.TEXT:
        return [""] * len(segments.vectors)
    text = str(content.data)
    if segments.spans is None:
        return [text]
    return [text[span.start : span.end] for span in segments.spans]


def _given(prepared: Sequence[PreparedDocument]) -> dict[int, Segments]:
    """Those of the documents that came with vectors, by place."""
    given = {}
    for one in prepared:
        document = one.document
        if document.vector is not None:
            given[one.place] = Segments(document.vector[None])
        elif document.segments:
            given[one.place] = Segments(
                np.stack([segment.vector for segment in document.segments]),
                [segment.span for segment in document.segments if segment.span is not None],
            )
    return given


def _write(document_id: str, generation: int, segments: Segments, ref: ContentRef) -> Write:
    spans = None if segments.spans is None else spans_to_bytes(segments.spans)
    return Write(document_id, generation, len(segments.vectors), ref, spans)

"""What the engine is to hold of documents: their own vectors, or those of their contents."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from searchmesh_common.errors import InvalidRequest, ServiceError
from searchmesh_search.engine import Row
from searchmesh_search.journal.write_rows import Write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.content import Content
    from searchmesh_search.content_store import ContentRef
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.document_checks import PreparedDocument


class Encode(Protocol):
    """Turns documents' contents into vectors of one model."""

    async def __call__(
        self, model: str, fingerprint: str, contents: Sequence[Content], deadline: Deadline
    ) -> Sequence[np.ndarray | ServiceError]:
        """One vector, or that content's own error, for each content.

        Raises FailedPrecondition when the model no longer has that fingerprint, Unavailable,
        Overloaded, DeadlineExceeded.
        """


async def vectors_of(
    encode: Encode,
    collection: Collection,
    prepared: Sequence[PreparedDocument],
    errors: list[ServiceError | None],
    deadline: Deadline,
) -> dict[int, np.ndarray]:
    """Vectors by a document's place; a document that gets none gets its error.

    Raises what `encode` raises.
    """
    vectors = {
        one.place: one.document.vector for one in prepared if one.document.vector is not None
    }
    contents = {
        one.place: one.document.content
        for one in prepared
        if one.place not in vectors and one.document.content is not None
    }
    if contents:
        assert collection.model is not None
        encoded = await encode(
            collection.model, collection.fingerprint, list(contents.values()), deadline
        )
        for place, outcome in zip(contents, encoded, strict=True):
            if isinstance(outcome, ServiceError):
                errors[place] = _within(outcome, f"documents[{place}].content")
            else:
                vectors[place] = outcome
    return vectors


def writes_of(
    documents: Sequence[PreparedDocument],
    generations: Sequence[int],
    refs: Sequence[ContentRef],
) -> list[Write]:
    """One generation of each document, as the journal notes it."""
    return [
        Write(one.document.id, generation, 1, ref)
        for one, generation, ref in zip(documents, generations, refs, strict=True)
    ]


def rows_of(
    documents: Sequence[PreparedDocument],
    vectors: Mapping[int, np.ndarray],
    writes: Sequence[Write],
) -> list[Row]:
    """The same, as the engine stores it."""
    return [
        Row(write.document_id, write.generation, 0, vectors[one.place], one.fields)
        for one, write in zip(documents, writes, strict=True)
    ]


def _within(error: ServiceError, path: str) -> ServiceError:
    """A content's own error with the fields as our caller spells them."""
    if not isinstance(error, InvalidRequest):
        return error
    return InvalidRequest(*(replace(one, field=f"{path}.{one.field}") for one in error.violations))

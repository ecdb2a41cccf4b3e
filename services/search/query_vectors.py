"""The vectors that queries are made of: given ones, of contents, and of stored documents."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from searchmesh_common.errors import FailedPrecondition, InvalidRequest, ServiceError, within
from searchmesh_search.document_checks import check_vector, kind_of
from searchmesh_search.documents import missing_document
from searchmesh_search.segments import mean_vector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.content import Content
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.documents import Documents
    from searchmesh_search.encoded_together import EncodeQueries
    from searchmesh_search.searcher import Explanation


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to be like, or unlike; exactly one of content, vector and document_id is set."""

    path: str
    """Of what is set in its request, as errors name it: `liked[2].content.text`."""
    content: Content | None = None
    vector: np.ndarray | None = None
    document_id: str | None = None


class QueryVectors:
    """Makes vectors of examples."""

    def __init__(self, documents: Documents, encode_queries: EncodeQueries) -> None:
        self._documents = documents
        self._encode_queries = encode_queries

    async def vectors(
        self,
        collection: Collection,
        examples: Sequence[Example],
        explanation: Explanation,
        deadline: Deadline,
    ) -> list[np.ndarray]:
        """The vector of each: (dimension,) float32, or (dimension / 8,) uint8 of packed bits.

        Contents are encoded together. The time it takes is added to `explanation`. Raises for what
        is no query of the collection as `Searcher.find` does, with the path of the first example at
        fault.
        """
        vectors = {one.path: one.vector for one in examples if one.vector is not None}
        for path, vector in vectors.items():
            with _errors_at(path):
                check_query_vector(collection, vector, path)
        vectors |= await self._stored(collection, examples, explanation, deadline)
        vectors |= await self._encoded(collection, examples, explanation, deadline)
        return [vectors[one.path] for one in examples]

    async def _stored(
        self,
        collection: Collection,
        examples: Sequence[Example],
        explanation: Explanation,
        deadline: Deadline,
    ) -> dict[str, np.ndarray]:
        """By path, of those that are documents."""
        ids = {one.path: one.document_id for one in examples if one.document_id is not None}
        if not ids:
            return {}
        started = time.perf_counter()
        held = await self._documents.segments(collection, set(ids.values()), deadline)
        explanation.search_ms += (time.perf_counter() - started) * 1000
        vectors = {}
        for path, document_id in ids.items():
            if document_id not in held:
                raise within(missing_document(collection, document_id), path)
            with _errors_at(path):
                vectors[path] = mean_vector(held[document_id].vectors, collection.space.metric)
        return vectors

    async def _encoded(
        self,
        collection: Collection,
        examples: Sequence[Example],
        explanation: Explanation,
        deadline: Deadline,
    ) -> dict[str, np.ndarray]:
        """By path, of those that are contents."""
        contents = {one.path: one.content for one in examples if one.content is not None}
        for path, content in contents.items():
            with _errors_at(path):
                model = model_for(collection, content)
        if not contents:
            return {}
        outcomes = await self._encode_queries(
            model, collection.fingerprint, list(contents.values()), deadline
        )
        vectors = {}
        for path, outcome in zip(contents, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                raise _at(outcome, path)
            vectors[path] = outcome.vector
            explanation.encode_ms = max(explanation.encode_ms, outcome.encode_ms)
            explanation.queue_ms = max(explanation.queue_ms, outcome.queue_ms)
        explanation.model, explanation.fingerprint = model, collection.fingerprint
        return vectors


def check_query_vector(collection: Collection, vector: np.ndarray, path: str) -> None:
    """Raises FailedPrecondition for a vector of a kind that the collection cannot be searched by,
    InvalidRequest for one of its kind that is not of its space.

    path: of the vector in its request.
    """
    given, held = kind_of(vector), collection.space.kind
    if given is not held:
        raise FailedPrecondition(
            "VECTOR_KIND_MISMATCH",
            f"the query is a {given.value} vector, collection {collection.name!r} holds "
            f"{held.value} ones",
            {"collection": collection.name, "kind": held.value},
        )
    check_vector(vector, collection.space, path)


def model_for(collection: Collection, content: Content) -> str:
    """The collection's model, if it reads such a content. Raises FailedPrecondition."""
    if collection.model is None:
        raise FailedPrecondition(
            "NO_MODEL",
            f"collection {collection.name!r} has no model to encode with; it is asked by vector or "
            "document_id",
            {"collection": collection.name},
        )
    if content.modality is not collection.modality:
        assert collection.modality is not None
        raise FailedPrecondition(
            "MODALITY_MISMATCH",
            f"the query is {content.modality.value}, the model {collection.model} of collection "
            f"{collection.name!r} reads {collection.modality.value}",
            {"collection": collection.name, "modality": collection.modality.value},
        )
    return collection.model


@contextmanager
def _errors_at(path: str) -> Iterator[None]:
    """Around what is done with the example at a path."""
    try:
        yield
    except ServiceError as error:
        raise _at(error, path) from error


def _at(error: ServiceError, path: str) -> ServiceError:
    """An example's own error, whose fields are all that one."""
    if isinstance(error, InvalidRequest):
        return InvalidRequest(*(replace(one, field=path) for one in error.violations))
    return within(error, path)

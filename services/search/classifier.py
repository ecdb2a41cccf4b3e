"""Classifier: the class of a query by a vote of its nearest documents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from searchmesh_search.filters.check import require_declared
from searchmesh_search.filters.filter import having
from searchmesh_search.off_loop import off_loop
from searchmesh_search.searcher import Explanation, SearchQuery
from searchmesh_search.votes import count_votes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from searchmesh_search.collections import Collections
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.engine import Metric
    from searchmesh_search.filters.filter import Filter, Value
    from searchmesh_search.query_vectors import Example, QueryVectors
    from searchmesh_search.searcher import Hit, Searcher, SearchResult
    from searchmesh_search.votes import Vote

    ReadAttribute = Callable[[bytes, str], Value]
    """Reads a declared attribute of a stored document that has it."""


@dataclass(frozen=True, slots=True)
class ClassifyQuery:
    """What to classify."""

    collection: str
    example: Example
    field: str
    """The declared field that holds the class."""
    neighbours: int = 5
    """Documents that vote."""
    where: Filter | None = None
    """Only documents that it is true for vote; not checked against the collection yet."""
    read_after: bytes = b""


@dataclass(frozen=True, slots=True)
class Classification:
    """Votes, the greatest share first, and who cast them."""

    votes: Sequence[Vote]
    neighbours: SearchResult


class Classifier:
    """Classifies queries."""

    def __init__(
        self,
        collections: Collections,
        searcher: Searcher,
        vectors: QueryVectors,
        read_attribute: ReadAttribute,
    ) -> None:
        self._collections = collections
        self._searcher = searcher
        self._vectors = vectors
        self._read_attribute = read_attribute

    async def classify(self, query: ClassifyQuery, deadline: Deadline) -> Classification:
        """The votes of the documents nearest to a query that have a class; none where there is no
        such document.

        Raises InvalidRequest for a field that is not declared, otherwise as `Searcher.find` with
        the path of the example.
        """
        collection = await self._collections.get(query.collection, deadline)
        require_declared(query.field, collection.spec.fields, "field")
        made = Explanation()
        (vector,) = await self._vectors.vectors(collection, [query.example], made, deadline)
        near = SearchQuery(
            query.collection,
            vector=vector,
            limit=query.neighbours,
            where=having(query.where, query.field),
            excluded={query.example.document_id} if query.example.document_id else frozenset(),
            read_after=query.read_after,
        )
        find = partial(self._searcher.find, near, deadline)
        neighbours = await self._searcher.read(find, with_documents=True)
        neighbours.explanation.add_making_of(made)
        votes = await off_loop(
            len(neighbours.hits), self._votes, query.field, neighbours.hits, neighbours.metric
        )
        return Classification(votes, neighbours)

    def _votes(self, field: str, hits: Sequence[Hit], metric: Metric) -> list[Vote]:
        ballots = [
            (self._read_attribute(hit.stored, field), hit.score)
            for hit in hits
            if hit.stored is not None
        ]
        return count_votes(ballots, metric)

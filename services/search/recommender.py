"""Recommender: examples of what is liked and what is not become documents like the one and unlike
the other.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import FailedPrecondition
from searchmesh_search.at_once import SEARCHES_AT_ONCE, at_once
from searchmesh_search.engine import EngineHit, VectorKind
from searchmesh_search.example_vectors import LINEAR_METRICS, moved_mean, summed
from searchmesh_search.nearest_to_each import best_of_each, settled
from searchmesh_search.off_loop import off_loop
from searchmesh_search.parts import parts
from searchmesh_search.searcher import Explanation, Found, Match, SearchQuery
from searchmesh_search.similarity import similarities

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.collections import Collections
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.documents import Documents
    from searchmesh_search.engine import Metric
    from searchmesh_search.filters.filter import Filter
    from searchmesh_search.journal.document_rows import DocumentRow
    from searchmesh_search.query_vectors import Example, QueryVectors
    from searchmesh_search.searcher import Searcher, SearchResult
    from searchmesh_search.segments import Segments

    _Held = Sequence[tuple[DocumentRow, Segments]]

MAX_DEPTH = 1000
"""Documents that are looked at around each of the liked, where there is a search for each."""

DEPTH_GROWTH = 4
"""How many times as many are looked at when they were too few."""

MIN_LOOK = 100
"""Documents whose vectors are read at once, to compare them with the disliked."""

MAX_CANDIDATES = 4096
"""Documents whose scores are summed, where no one search can do that."""


class Strategy(enum.Enum):
    """How examples become a query."""

    AVERAGE = "average"
    """One search, by the mean of the liked, moved away from the mean of the disliked."""
    SUM = "sum"
    """The sum of the scores to the liked, less those to the disliked."""
    BEST = "best"
    """The best score to any liked one, unless a disliked one is nearer."""


@dataclass(frozen=True, slots=True)
class RecommendQuery:
    """What to recommend."""

    collection: str
    liked: Sequence[Example]
    """At least one. Documents among these and the disliked are not recommended."""
    disliked: Sequence[Example] = ()
    strategy: Strategy = Strategy.AVERAGE
    seen: Set[str] = frozenset()
    """Ids of documents that are not recommended either."""
    limit: int = 10
    where: Filter | None = None
    """Only documents that it is true for; not checked against the collection yet."""
    read_after: bytes = b""
    with_documents: bool = True


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A query with its vectors."""

    collection: Collection
    query: RecommendQuery
    liked: np.ndarray
    """(m, dimension) float32, or (m, dimension / 8) uint8; m > 0."""
    disliked: np.ndarray
    """(n, …) alike."""

    @property
    def metric(self) -> Metric:
        return self.collection.space.metric

    @property
    def size(self) -> int:
        """How many items of `off_loop` it is to compare a document with all."""
        return 1 + (len(self.liked) + len(self.disliked)) // 16

    def near(self, vector: np.ndarray, limit: int) -> SearchQuery:
        """The search for what is near to a vector."""
        query = self.query
        examples = (*query.liked, *query.disliked)
        excluded = query.seen | {one.document_id for one in examples if one.document_id is not None}
        return SearchQuery(
            query.collection,
            vector=vector,
            limit=limit,
            where=query.where,
            excluded=excluded,
            read_after=query.read_after,
        )


class Recommender:
    """Recommends documents."""

    def __init__(
        self,
        collections: Collections,
        documents: Documents,
        searcher: Searcher,
        vectors: QueryVectors,
    ) -> None:
        self._collections = collections
        self._documents = documents
        self._searcher = searcher
        self._vectors = vectors

    async def recommend(self, query: RecommendQuery, deadline: Deadline) -> SearchResult:
        """The documents that fit the examples best.

        Raises as `Searcher.find`, with the path of the example at fault, and FailedPrecondition for
        examples that cancel each other out and for a mean of binary vectors.
        """
        collection = await self._collections.get(query.collection, deadline)
        if query.strategy is Strategy.AVERAGE:
            _require_means(collection)
        made = Explanation()
        examples = [*query.liked, *query.disliked]
        vectors = np.stack(await self._vectors.vectors(collection, examples, made, deadline))
        count = len(query.liked)
        wanted = _Wanted(collection, query, vectors[:count], vectors[count:])
        find = partial(self._find, wanted, made, deadline)
        return await self._searcher.read(find, with_documents=query.with_documents)

    async def _find(self, wanted: _Wanted, made: Explanation, deadline: Deadline) -> Found:
        """made: how the vectors were."""
        match wanted.query.strategy:
            case Strategy.AVERAGE:
                vector = moved_mean(wanted.liked, wanted.disliked, wanted.metric)
                found = await self._near(wanted, vector, 1, deadline)
            case Strategy.SUM if wanted.metric in LINEAR_METRICS:
                vector, factor = summed(wanted.liked, wanted.disliked, wanted.metric)
                found = await self._near(wanted, vector, factor, deadline)
            case Strategy.SUM:
                found = await self._best_sums(wanted, deadline)
            case Strategy.BEST:
                found = await self._best(wanted, deadline)
        found.explanation.add_making_of(made)
        return found

    async def _near(
        self, wanted: _Wanted, vector: np.ndarray, factor: float, deadline: Deadline
    ) -> Found:
        """factor: of every score."""
        found = await self._searcher.find(wanted.near(vector, wanted.query.limit), deadline)
        matches = [
            replace(one, near=replace(one.near, score=one.near.score * factor))
            for one in found.matches
        ]
        return replace(found, matches=matches)

    async def _best(self, wanted: _Wanted, deadline: Deadline) -> Found:
        """As many as are wanted, or as there are within MAX_DEPTH of each of the liked."""
        explanation = Explanation()
        limit = depth = wanted.query.limit
        while True:
            rankings = await self._rankings(wanted, depth, explanation, deadline)
            ranked = await off_loop(depth * len(rankings), settled, rankings, depth)
            kept = await self._unless_disliked(wanted, ranked, deadline)
            is_all = all(len(ranking) < depth for ranking in rankings)
            if len(kept) >= limit or is_all or depth == MAX_DEPTH:
                return Found(wanted.collection, kept[:limit], explanation)
            depth = min(depth * DEPTH_GROWTH, MAX_DEPTH)

    async def _best_sums(self, wanted: _Wanted, deadline: Deadline) -> Found:
        """Of the documents that are near to any of the liked."""
        explanation = Explanation()
        limit = wanted.query.limit
        depth = min(limit * DEPTH_GROWTH, MAX_DEPTH)
        rankings = await self._rankings(wanted, depth, explanation, deadline)
        ranked = await off_loop(depth * len(rankings), best_of_each, rankings)
        rows = [match.row for match in ranked[:MAX_CANDIDATES]]
        held = await self._documents.with_segments(wanted.collection, rows, deadline)
        matches = await off_loop(len(held) * wanted.size, _sums, wanted, held)
        matches.sort(key=lambda one: (-one.near.score, one.near.document_id))
        return Found(wanted.collection, matches[:limit], explanation)

    async def _rankings(
        self, wanted: _Wanted, depth: int, explanation: Explanation, deadline: Deadline
    ) -> list[Sequence[Match]]:
        """The nearest to each of the liked."""
        found = await at_once(
            SEARCHES_AT_ONCE,
            lambda vector: self._searcher.find(wanted.near(vector, depth), deadline),
            wanted.liked,
        )
        for one in found:
            explanation.add_times_of(one.explanation)
        return [one.matches for one in found]

    async def _unless_disliked(
        self, wanted: _Wanted, ranked: Sequence[Match], deadline: Deadline
    ) -> Sequence[Match]:
        """Those that are not nearer to a disliked one than to all of the liked; no more than are
        wanted and a few.
        """
        if not len(wanted.disliked):
            return ranked
        kept: list[Match] = []
        limit = wanted.query.limit
        for some in parts(ranked, lambda _: 1, most=max(limit, MIN_LOOK), most_size=MAX_DEPTH):
            rows = [match.row for match in some]
            held = await self._documents.with_segments(wanted.collection, rows, deadline)
            fitting = await off_loop(len(held) * wanted.size, _fitting, wanted, held)
            kept += [match for match in some if match.near.document_id in fitting]
            if len(kept) >= limit:
                break
        return kept


def _fitting(wanted: _Wanted, held: _Held) -> set[str]:
    """Ids of the documents that no disliked one is nearer to than every liked one."""
    return {
        row.document_id
        for row, segments in held
        if similarities(wanted.liked, segments.vectors, wanted.metric).max()
        >= similarities(wanted.disliked, segments.vectors, wanted.metric).max()
    }


def _sums(wanted: _Wanted, held: _Held) -> list[Match]:
    return [_summed(wanted, row, segments) for row, segments in held]


def _summed(wanted: _Wanted, row: DocumentRow, segments: Segments) -> Match:
    """A document by its best segment."""
    liked, disliked = (
        similarities(some, segments.vectors, wanted.metric).sum(axis=0)
        for some in (wanted.liked, wanted.disliked)
    )
    scores = liked - disliked
    best = int(scores.argmax())
    return Match(EngineHit(row.document_id, row.generation, best, float(scores[best])), row)


def _require_means(collection: Collection) -> None:
    if collection.space.kind is VectorKind.BINARY:
        raise FailedPrecondition(
            "NO_MEAN",
            f"strategy: collection {collection.name!r} holds binary vectors, which have no mean; "
            "take the strategy SUM or BEST",
            {"collection": collection.name},
        )

"""Searcher: a query becomes a vector or words or both, these the best rows, the rows hits."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from searchmesh_common.errors import ServiceError
from searchmesh_search.collection_spec import Segmentation
from searchmesh_search.engine_losses import losses_told
from searchmesh_search.filters.check import checked
from searchmesh_search.filters.filter import terms
from searchmesh_search.hybrid import Fusion, both, depth, joined
from searchmesh_search.lexical import words_of
from searchmesh_search.off_loop import off_loop
from searchmesh_search.query_vectors import check_query_vector, model_for
from searchmesh_search.segments import span_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence, Set

    import numpy as np

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.collections import Collections
    from searchmesh_search.content import Content
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.documents import Confirmed, Documents
    from searchmesh_search.encoder_client import EncodedQuery
    from searchmesh_search.engine import Engine, EngineHit, Metric
    from searchmesh_search.filters.filter import Filter
    from searchmesh_search.hybrid import Lists, Ranks
    from searchmesh_search.journal import Journal
    from searchmesh_search.journal.document_rows import DocumentRow
    from searchmesh_search.segments import TextSpan

    Near = Callable[[int], Awaitable[Sequence[EngineHit]]]
    """Gives so many of the engine's best rows, best first."""

SPARE_ROWS = 8
"""Rows asked for beyond those wanted: room for ones that a write has just replaced."""

ROWS_PER_DOCUMENT = 4
"""Rows asked for at first for each document wanted, where documents have many: passages that stand
together are near to a query together."""

ROWS_GROWTH = 4
"""How many times as many rows are asked for when they were too few. An engine answers a longer list
nearly as quickly as a short one, and one document may own hundreds of the nearest rows."""

MAX_REPEATS = 3
"""Times that the engine is asked again because documents were replaced meanwhile."""


class Mode(enum.Enum):
    """What is searched by."""

    DENSE = "dense"
    """Meaning: vectors. Score: by the collection's metric."""
    LEXICAL = "lexical"
    """Words. Score: BM25, more than 0."""
    HYBRID = "hybrid"
    """Both. Score: by reciprocal rank fusion, more than 0."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What to search for; exactly one of content, vector and document_id is set."""

    collection: str
    content: Content | None = None
    vector: np.ndarray | None = None
    document_id: str | None = None
    mode: Mode = Mode.DENSE
    fusion: Fusion = field(default_factory=Fusion)
    """How HYBRID joins its lists."""
    allow_partial: bool = False
    """Whether HYBRID answers from one list where what the other needs is away."""
    limit: int = 10
    offset: int = 0
    min_score: float | None = None
    where: Filter | None = None
    """Only documents that it is true for; not checked against the collection yet."""
    excluded: Set[str] = frozenset()
    """Ids of documents that are no hits; the one that is searched for never is."""
    read_after: bytes = b""
    """The engine's token of a write that must be seen."""
    with_documents: bool = True
    """Whether hits carry what was stored of their documents."""


@dataclass(frozen=True, slots=True)
class Match:
    """A document that was found, before what was stored of it is read."""

    near: EngineHit
    """Its best row."""
    row: DocumentRow
    """What the journal has of it."""
    ranks: Ranks | None = None
    """How its score came about; only in HYBRID."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that was found."""

    document_id: str
    score: float
    """By the result's mode; higher is better."""
    stored: bytes | None
    """What was stored of the document; None where the query did not ask for it."""
    span: TextSpan | None
    """Where the segment that was found lies in the content; None for a document that is one vector,
    or where the query did not ask for what was stored."""
    ranks: Ranks | None = None
    """How the score came about; only in HYBRID."""


@dataclass(slots=True)
class Explanation:
    """How an answer came about. Wall time in milliseconds."""

    engine: str = ""
    index: str = ""
    model: str = ""
    fingerprint: str = ""
    encode_ms: float = 0.0
    queue_ms: float = 0.0
    search_ms: float = 0.0
    fuse_ms: float = 0.0

    def add_making_of(self, vector: Explanation) -> None:
        """Count what it took to make the vector that was searched by."""
        self.add_times_of(vector)
        self.model, self.fingerprint = vector.model, vector.fingerprint
        self.encode_ms, self.queue_ms = vector.encode_ms, vector.queue_ms

    def add_times_of(self, part: Explanation) -> None:
        """Count what one of several searches took that the answer is made of."""
        self.search_ms += part.search_ms
        self.fuse_ms += part.fuse_ms


@dataclass(frozen=True, slots=True)
class Found:
    """Matches, best first; of equal scores the smaller id first."""

    collection: Collection
    matches: Sequence[Match]
    explanation: Explanation
    mode: Mode = Mode.DENSE
    missing: Mapping[Mode, ServiceError] = field(default_factory=dict)
    """The lists that are missing from HYBRID, and why."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits in the order of the matches that they are read of."""

    hits: Sequence[Hit]
    metric: Metric
    """Of the collection; scores are in it in DENSE."""
    explanation: Explanation
    mode: Mode = Mode.DENSE
    missing: Mapping[Mode, ServiceError] = field(default_factory=dict)
    """As in `Found`."""


class EncodeQuery(Protocol):
    """Turns a query's content into a vector of one model."""

    async def __call__(
        self, model: str, fingerprint: str, content: Content, deadline: Deadline
    ) -> EncodedQuery:
        """Raises InvalidRequest for a content that cannot be encoded, FailedPrecondition when the
        model no longer has that fingerprint, Unavailable, Overloaded, DeadlineExceeded.
        """


class Searcher:
    """Answers searches."""

    def __init__(
        self,
        journal: Journal,
        collections: Collections,
        documents: Documents,
        engine: Engine,
        encode_query: EncodeQuery,
    ) -> None:
        self._journal = journal
        self._collections = collections
        self._documents = documents
        self._engine = engine
        self._encode_query = encode_query

    async def search(
        self, query: SearchQuery, deadline: Deadline, encode_query: EncodeQuery | None = None
    ) -> SearchResult:
        """The documents nearest to a query. Raises as `find` and `read`."""
        find = partial(self.find, query, deadline, encode_query)
        return await self.read(find, with_documents=query.with_documents)

    async def find(
        self, query: SearchQuery, deadline: Deadline, encode_query: EncodeQuery | None = None
    ) -> Found:
        """The documents nearest to a query, not read yet.

        encode_query: what encodes the query's content; by default a call to the encoder.

        Raises NotFound for an unknown collection or document, InvalidRequest for a query that
        cannot be encoded or is no vector of the space and for a filter that does not fit the
        collection, FailedPrecondition for a query of another modality or kind of vector and for a
        filter that the engine cannot be asked, Unavailable, Overloaded, DeadlineExceeded, DataLoss.
        """
        collection = await self._collections.get(query.collection, deadline)
        query = await _fitting(query, collection)
        encode_query = encode_query or self._encode_query
        if query.mode is Mode.HYBRID:
            return await self._hybrid(collection, query, encode_query, deadline)
        explanation = self._explanation(collection)
        if query.mode is Mode.LEXICAL:
            matches = await self._lexical(collection, query, explanation, deadline)
        else:
            matches = await self._dense(collection, query, explanation, encode_query, deadline)
        return Found(collection, matches, explanation, query.mode)

    async def read(
        self, find: Callable[[], Awaitable[Found]], *, with_documents: bool
    ) -> SearchResult:
        """The hits that `find` finds, with what was stored of their documents where that is wanted.

        find: called again where a content has moved meanwhile. Raises what it raises, and DataLoss.
        """
        found = await find()
        started = time.perf_counter()
        if with_documents:
            found, hits = await self._read(found, find)
        else:
            hits = [_hit(match, None) for match in found.matches]
        found.explanation.fuse_ms += _since(started)
        return SearchResult(
            hits, found.collection.space.metric, found.explanation, found.mode, found.missing
        )

    async def _hybrid(
        self,
        collection: Collection,
        query: SearchQuery,
        encode_query: EncodeQuery,
        deadline: Deadline,
    ) -> Found:
        words_of(collection, query.content)  # before anything is encoded for nothing
        wanted = query.offset + query.limit
        part = replace(query, offset=0, limit=depth(wanted), min_score=None)
        explanation, other = self._explanation(collection), self._explanation(collection)
        started = time.perf_counter()
        lists = await both(
            lambda until: self._dense(collection, part, explanation, encode_query, until),
            lambda until: self._lexical(collection, part, other, until),
            deadline,
            allow_partial=query.allow_partial,
        )
        # the two overlap: what was no encoding counts as searching
        explanation.search_ms = max(0.0, _since(started) - explanation.encode_ms)
        started = time.perf_counter()
        matches = await off_loop(2 * part.limit, joined, lists, query.fusion)
        explanation.fuse_ms = _since(started)
        least = query.min_score or 0.0
        good = [match for match in matches if match.near.score >= least]
        return Found(
            collection, good[query.offset : wanted], explanation, Mode.HYBRID, _missing(lists)
        )

    async def _dense(
        self,
        collection: Collection,
        query: SearchQuery,
        explanation: Explanation,
        encode_query: EncodeQuery,
        deadline: Deadline,
    ) -> list[Match]:
        vector = await self._vector(collection, query, explanation, encode_query, deadline)

        async def near(rows: int) -> Sequence[EngineHit]:
            (hits,) = await self._engine.search(
                collection.physical,
                vector[None],
                rows,
                deadline.remaining(),
                where=query.where,
                read_after=query.read_after,
            )
            return hits

        return await self._best(collection, query, near, explanation, deadline)

    async def _lexical(
        self,
        collection: Collection,
        query: SearchQuery,
        explanation: Explanation,
        deadline: Deadline,
    ) -> list[Match]:
        text = words_of(collection, query.content)

        async def near(rows: int) -> Sequence[EngineHit]:
            return await self._engine.search_words(
                collection.physical,
                text,
                rows,
                deadline.remaining(),
                where=query.where,
                read_after=query.read_after,
            )

        return await self._best(collection, query, near, explanation, deadline)

    async def _vector(
        self,
        collection: Collection,
        query: SearchQuery,
        explanation: Explanation,
        encode_query: EncodeQuery,
        deadline: Deadline,
    ) -> np.ndarray:
        started = time.perf_counter()
        if query.vector is not None:
            check_query_vector(collection, query.vector, "vector")
            return query.vector
        if query.document_id is not None:
            vector = await self._documents.vector(collection, query.document_id, deadline)
            explanation.search_ms += _since(started)
            return vector
        assert query.content is not None
        model = model_for(collection, query.content)
        encoded = await encode_query(model, collection.fingerprint, query.content, deadline)
        explanation.model, explanation.fingerprint = model, collection.fingerprint
        explanation.encode_ms, explanation.queue_ms = encoded.encode_ms, encoded.queue_ms
        return encoded.vector

    async def _best(
        self,
        collection: Collection,
        query: SearchQuery,
        near_rows: Near,
        explanation: Explanation,
        deadline: Deadline,
    ) -> list[Match]:
        """The page that was asked for: of each document that readers may see the best row of the
        engine, with what the journal has of it.

        Many of the best rows may be one document's, and the engine may still hold what was
        replaced or deleted a moment ago, so it is asked for more until the page is full or there is
        nothing more. Of rows with one score it gives any, so the page is full only once a worse row
        was seen; otherwise pages would overlap. A document that was replaced meanwhile would be
        missing from the answer, so the engine is then asked again.
        """
        wanted = query.offset + query.limit
        most = self._engine.capabilities.max_limit
        rows = min(wanted * _rows_per_document(collection) + SPARE_ROWS, most)
        repeats = MAX_REPEATS
        while True:
            asked = time.monotonic()
            started = time.perf_counter()
            async with losses_told(self._journal, collection, deadline):
                near = await near_rows(rows)
            explanation.search_ms += _since(started)
            started = time.perf_counter()
            good = [hit for hit in near if query.min_score is None or hit.score >= query.min_score]
            confirmed = await self._documents.confirm(
                collection, [(hit.document_id, hit.generation) for hit in good], asked, deadline
            )
            visible = await off_loop(len(good), _visible, query, good, confirmed)
            explanation.fuse_ms += _since(started)
            if confirmed.overtaken and repeats:
                repeats -= 1
                continue
            if len(good) < rows or rows == most or _is_full(visible, wanted, near[-1].score):
                return visible[query.offset : wanted]
            rows = min(rows * ROWS_GROWTH, most)

    async def _read(
        self, found: Found, find_again: Callable[[], Awaitable[Found]]
    ) -> tuple[Found, list[Hit]]:
        found, stored = await self._documents.stored(
            found, lambda one: [match.row.content for match in one.matches], find_again
        )
        return found, [
            _hit(match, document) for match, document in zip(found.matches, stored, strict=True)
        ]

    def _explanation(self, collection: Collection) -> Explanation:
        capabilities = self._engine.capabilities
        return Explanation(
            engine=f"{capabilities.name} {capabilities.version}", index=collection.spec.index.type
        )


async def _fitting(query: SearchQuery, collection: Collection) -> SearchQuery:
    """The query with its filter checked. Raises InvalidRequest."""
    where = query.where
    if where is None:
        return query
    return replace(
        query, where=await off_loop(terms(where), checked, where, collection.spec.fields)
    )


def _rows_per_document(collection: Collection) -> int:
    segmented = collection.spec.segmentation is Segmentation.SEGMENTS
    return ROWS_PER_DOCUMENT if segmented else 1


def _hit(match: Match, stored: bytes | None) -> Hit:
    near, spans = match.near, match.row.spans
    span = None if stored is None or spans is None else span_at(spans, near.segment)
    return Hit(near.document_id, near.score, stored, span, match.ranks)


def _missing(lists: Lists) -> dict[Mode, ServiceError]:
    named = ((Mode.DENSE, lists.dense), (Mode.LEXICAL, lists.lexical))
    return {mode: one for mode, one in named if isinstance(one, ServiceError)}


def _is_full(visible: Sequence[Match], wanted: int, worst_score: float) -> bool:
    """Whether no row that the engine did not give can be among the best `wanted`."""
    return len(visible) >= wanted and visible[wanted - 1].near.score > worst_score


def _visible(query: SearchQuery, near: Sequence[EngineHit], confirmed: Confirmed) -> list[Match]:
    """The best row of each document that readers may see and the query does not exclude, best
    first.
    """
    best: dict[str, Match] = {}
    excluded = query.excluded | {query.document_id}
    for hit in sorted(near, key=lambda hit: (-hit.score, hit.document_id, hit.segment)):
        row = confirmed.rows.get((hit.document_id, hit.generation))
        if row is not None and hit.document_id not in excluded:
            best.setdefault(hit.document_id, Match(hit, row))
    return list(best.values())


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000

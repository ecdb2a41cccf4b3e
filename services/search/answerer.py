"""Answerer: the stored answer of the stored question that is nearest to the one asked, if it is
near enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from searchmesh_common.errors import FailedPrecondition, InvalidRequest
from searchmesh_search.engine import FieldType, Metric
from searchmesh_search.filters.filter import having
from searchmesh_search.off_loop import off_loop
from searchmesh_search.searcher import Explanation, SearchQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.collections import Collections
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.filters.filter import Filter
    from searchmesh_search.query_vectors import Example, QueryVectors
    from searchmesh_search.searcher import Hit, Searcher, SearchResult

    ReadAnswer = Callable[[bytes, str], "tuple[str, str] | None"]
    """Reads the question of a stored document, and the answer that an attribute holds; None where
    it holds none."""

DEFAULT_THRESHOLD = 0.7
"""By COSINE and JACCARD."""

MAX_LOOK = 1000
"""Nearest documents among which those with an answer are looked for."""

LOOK_GROWTH = 4
"""How many times as many are looked at where too few have an answer."""


@dataclass(frozen=True, slots=True)
class AnswerQuery:
    """What to answer."""

    collection: str
    question: Example
    field: str
    """The attribute that holds the answer."""
    threshold: float | None = None
    """Least score of a question that is near enough."""
    alternatives: int = 3
    where: Filter | None = None
    """Only documents that it is true for; not checked against the collection yet."""
    read_after: bytes = b""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer that was stored with a question."""

    document_id: str
    answer: str
    question: str
    score: float


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer, and the next best."""

    answer: StoredAnswer | None
    """None where no question is near enough."""
    alternatives: Sequence[StoredAnswer]
    """Best first, near enough or not."""
    result: SearchResult
    """What was looked at."""


class Answerer:
    """Answers questions."""

    def __init__(
        self,
        collections: Collections,
        searcher: Searcher,
        vectors: QueryVectors,
        read_answer: ReadAnswer,
    ) -> None:
        self._collections = collections
        self._searcher = searcher
        self._vectors = vectors
        self._read_answer = read_answer

    async def answer(self, query: AnswerQuery, deadline: Deadline) -> Answered:
        """The best answer and its alternatives.

        Raises InvalidRequest for a field that holds no strings and for a threshold that is needed,
        FailedPrecondition, reason NO_ANSWERS, where documents were found and none has an answer,
        otherwise as `Searcher.find`.
        """
        collection = await self._collections.get(query.collection, deadline)
        threshold = _threshold(query, collection.space.metric)
        where = _where(query, collection)
        made = Explanation()
        (vector,) = await self._vectors.vectors(collection, [query.question], made, deadline)
        near = SearchQuery(
            query.collection, vector=vector, where=where, read_after=query.read_after
        )
        result, answers = await self._answers(near, query, deadline)
        result.explanation.add_making_of(made)
        if result.hits and not answers:
            raise _no_answers(query, len(result.hits))
        if answers and answers[0].score >= threshold:
            return Answered(answers[0], answers[1 : 1 + query.alternatives], result)
        return Answered(None, answers[: query.alternatives], result)

    async def _answers(
        self, near: SearchQuery, query: AnswerQuery, deadline: Deadline
    ) -> tuple[SearchResult, Sequence[StoredAnswer]]:
        """The nearest documents, until enough of them have an answer, and those that have."""
        wanted = look = 1 + query.alternatives
        while True:
            result = await self._searcher.search(replace(near, limit=look), deadline)
            answers = await off_loop(len(result.hits), self._read, query.field, result.hits)
            if len(answers) >= wanted or len(result.hits) < look or look == MAX_LOOK:
                return result, answers
            look = min(look * LOOK_GROWTH, MAX_LOOK)

    def _read(self, field: str, hits: Sequence[Hit]) -> list[StoredAnswer]:
        answers = []
        for hit in hits:
            assert hit.stored is not None
            read = self._read_answer(hit.stored, field)
            if read is not None:
                question, answer = read
                answers.append(StoredAnswer(hit.document_id, answer, question, hit.score))
        return answers


def _threshold(query: AnswerQuery, metric: Metric) -> float:
    if query.threshold is not None:
        return query.threshold
    if metric not in {Metric.COSINE, Metric.JACCARD}:
        raise InvalidRequest.of(
            "threshold", f"required: the collection's scores, by {metric.value}, have no usual one"
        )
    return DEFAULT_THRESHOLD


def _where(query: AnswerQuery, collection: Collection) -> Filter | None:
    """The query's filter, which leaves out what has no answer where the field is declared."""
    declared = next((one for one in collection.spec.fields if one.name == query.field), None)
    if declared is None:
        return query.where
    if declared.type is not FieldType.STRING:
        raise InvalidRequest.of(
            "answer_field",
            f"{query.field} is declared {declared.type.value}; an answer is a string",
        )
    return having(query.where, query.field)


def _no_answers(query: AnswerQuery, looked_at: int) -> FailedPrecondition:
    return FailedPrecondition(
        "NO_ANSWERS",
        f"answer_field: none of the {looked_at} nearest documents of collection "
        f"{query.collection!r} has a string in {query.field!r}",
        {"collection": query.collection, "answer_field": query.field},
    )

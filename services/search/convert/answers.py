"""Requests and responses of Answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh_search import write_tokens
from searchmesh_search.answerer import AnswerQuery
from searchmesh_search.content import Content, Modality
from searchmesh_search.convert import filters, values
from searchmesh_search.query_vectors import Example

if TYPE_CHECKING:
    from searchmesh_search.answerer import Answered, StoredAnswer

DEFAULT_ALTERNATIVES = 3


def query(request: pb.AnswerRequest) -> AnswerQuery:
    """Raises InvalidRequest."""
    question = Example("question", content=Content(Modality.TEXT, request.question))
    return AnswerQuery(
        collection=request.collection,
        question=question,
        field=request.answer_field,
        threshold=request.threshold if request.HasField("threshold") else None,
        alternatives=request.alternatives
        if request.HasField("alternatives")
        else DEFAULT_ALTERNATIVES,
        where=filters.where(request),
        read_after=write_tokens.decode(request.read_after),
    )


def response(answered: Answered) -> pb.AnswerResponse:
    return pb.AnswerResponse(
        answer=None if answered.answer is None else _answer(answered.answer),
        alternatives=[_answer(one) for one in answered.alternatives],
        metric=values.METRIC_VALUES[answered.result.metric],
    )


def _answer(answer: StoredAnswer) -> pb.StoredAnswer:
    return pb.StoredAnswer(
        id=answer.document_id, answer=answer.answer, question=answer.question, score=answer.score
    )

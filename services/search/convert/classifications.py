"""Requests and responses of Classify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh_search import write_tokens
from searchmesh_search.classifier import ClassifyQuery
from searchmesh_search.convert import filters, searches, values
from searchmesh_search.convert.examples import example

if TYPE_CHECKING:
    from searchmesh_search.classifier import Classification

DEFAULT_NEIGHBOURS = 5


def query(request: pb.ClassifyRequest) -> ClassifyQuery:
    """Raises InvalidRequest."""
    return ClassifyQuery(
        collection=request.collection,
        example=example(request.query, "query"),
        field=request.field,
        neighbours=request.neighbours if request.HasField("neighbours") else DEFAULT_NEIGHBOURS,
        where=filters.where(request),
        read_after=write_tokens.decode(request.read_after),
    )


def response(classification: Classification) -> pb.ClassifyResponse:
    neighbours = classification.neighbours
    return pb.ClassifyResponse(
        votes=[
            pb.Vote(value=values.attribute_message(one.value), share=one.share, count=one.count)
            for one in classification.votes
        ],
        neighbours=searches.hits(neighbours, [searches.EVERY_ATTRIBUTE]),
        metric=values.METRIC_VALUES[neighbours.metric],
    )

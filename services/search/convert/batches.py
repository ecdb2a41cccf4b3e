"""Requests and responses of BatchSearch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh_common import status
from searchmesh_common.errors import ServiceError, within
from searchmesh_search.convert import filters, refinements, searches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    from searchmesh_search.refiner import RefinedQuery
    from searchmesh_search.searcher import SearchResult


def queries(
    request: pb.BatchSearchRequest, validate: Callable[[Message], None]
) -> list[RefinedQuery | ServiceError]:
    """The searches; one that cannot be read is its own error. validate: raises InvalidRequest."""
    return [_query(one, validate) for one in request.requests]


def size(request: pb.BatchSearchRequest) -> int:
    """How many items of `off_loop` its searches are."""
    return sum(1 + filters.size(one) for one in request.requests)


def response(
    request: pb.BatchSearchRequest,
    outcomes: Sequence[SearchResult | ServiceError],
    total_ms: float,
) -> pb.BatchSearchResponse:
    """The outcomes, in the order of the requests."""
    message = pb.BatchSearchResponse()
    for place, (one, outcome) in enumerate(zip(request.requests, outcomes, strict=True)):
        if isinstance(outcome, ServiceError):
            error = within(outcome, f"requests[{place}]")
            message.results.add(error=status.to_proto(error))
        else:
            message.results.add(response=searches.response(one, outcome, total_ms))
    return message


def answer_size(outcomes: Sequence[SearchResult | ServiceError]) -> int:
    """How many items of `off_loop` the response is."""
    return sum(1 if isinstance(one, ServiceError) else 1 + searches.size(one) for one in outcomes)


def _query(
    request: pb.SearchRequest, validate: Callable[[Message], None]
) -> RefinedQuery | ServiceError:
    try:
        validate(request)
        return refinements.query(request)
    except ServiceError as error:
        return error

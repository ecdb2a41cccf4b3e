"""Requests and responses of Recommend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh_search import write_tokens
from searchmesh_search.convert import filters, searches, values
from searchmesh_search.convert.examples import examples
from searchmesh_search.recommender import RecommendQuery, Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from searchmesh_search.searcher import SearchResult

_STRATEGIES: Mapping[pb.RecommendStrategy.ValueType, Strategy] = {
    pb.RECOMMEND_STRATEGY_UNSPECIFIED: Strategy.AVERAGE,
    pb.RECOMMEND_STRATEGY_AVERAGE: Strategy.AVERAGE,
    pb.RECOMMEND_STRATEGY_SUM: Strategy.SUM,
    pb.RECOMMEND_STRATEGY_BEST: Strategy.BEST,
}


def query(request: pb.RecommendRequest) -> RecommendQuery:
    """Raises InvalidRequest."""
    searches.check_output_fields(request.output_fields)
    return RecommendQuery(
        collection=request.collection,
        liked=examples(request.liked, "liked"),
        disliked=examples(request.disliked, "disliked"),
        strategy=_STRATEGIES[request.strategy],
        seen=frozenset(request.seen_ids),
        limit=request.limit if request.HasField("limit") else searches.DEFAULT_LIMIT,
        where=filters.where(request),
        read_after=write_tokens.decode(request.read_after),
        with_documents=searches.wants_documents(request.output_fields),
    )


def size(request: pb.RecommendRequest) -> int:
    """How many items of `off_loop` it is."""
    examples = len(request.liked) + len(request.disliked)
    return examples + len(request.seen_ids) // 50 + filters.size(request)


def response(request: pb.RecommendRequest, result: SearchResult) -> pb.RecommendResponse:
    return pb.RecommendResponse(
        hits=searches.hits(result, request.output_fields),
        metric=values.METRIC_VALUES[result.metric],
    )

"""SearchService: translate, search, translate back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.search.v1 import search_service_pb2_grpc as pb_grpc
from searchmesh_search import write_tokens
from searchmesh_search.convert import (
    answers,
    batches,
    classifications,
    facets,
    filters,
    recommendations,
    refinements,
    searches,
)
from searchmesh_search.deadline import Deadline
from searchmesh_search.facets import count_facets
from searchmesh_search.later import later
from searchmesh_search.off_loop import off_loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from google.protobuf.message import Message
    from grpc.aio import ServicerContext

    from searchmesh_search.answerer import Answerer
    from searchmesh_search.batch_searcher import BatchSearcher
    from searchmesh_search.classifier import Classifier
    from searchmesh_search.collections import Collections
    from searchmesh_search.matching import Matching
    from searchmesh_search.metrics import SearchMetrics
    from searchmesh_search.recommender import Recommender
    from searchmesh_search.refiner import Refiner

SERVICE: str = pb.DESCRIPTOR.services_by_name["SearchService"].full_name


class SearchServicer(pb_grpc.SearchServiceServicer):
    """Answers queries."""

    def __init__(
        self,
        collections: Collections,
        refiner: Refiner,
        batch_searcher: BatchSearcher,
        recommender: Recommender,
        classifier: Classifier,
        answerer: Answerer,
        matching: Matching,
        metrics: SearchMetrics,
        *,
        validate: Callable[[Message], None],
    ) -> None:
        """validate: raises InvalidRequest; for the searches of a batch."""
        self._collections = collections
        self._refiner = refiner
        self._batch_searcher = batch_searcher
        self._recommender = recommender
        self._classifier = classifier
        self._answerer = answerer
        self._matching = matching
        self._metrics = metrics
        self._validate = validate

    async def Search(
        self, request: pb.SearchRequest, context: ServicerContext[Any, Any]
    ) -> pb.SearchResponse:
        started = time.perf_counter()
        query = await off_loop(filters.size(request), refinements.query, request)
        result = await self._refiner.search(query, Deadline.of_call())
        self._metrics.searched(result)
        total_ms = (time.perf_counter() - started) * 1000
        return await off_loop(searches.size(result), searches.response, request, result, total_ms)

    async def BatchSearch(
        self, request: pb.BatchSearchRequest, context: ServicerContext[Any, Any]
    ) -> pb.BatchSearchResponse:
        started = time.perf_counter()
        queries = await off_loop(batches.size(request), batches.queries, request, self._validate)
        outcomes = await self._batch_searcher.search(queries, Deadline.of_call())
        self._metrics.batch_searched(outcomes)
        total_ms = (time.perf_counter() - started) * 1000
        return await off_loop(
            batches.answer_size(outcomes), batches.response, request, outcomes, total_ms
        )

    async def Recommend(
        self, request: pb.RecommendRequest, context: ServicerContext[Any, Any]
    ) -> pb.RecommendResponse:
        query = await off_loop(recommendations.size(request), recommendations.query, request)
        result = await self._recommender.recommend(query, Deadline.of_call())
        self._metrics.searched(result)
        return await off_loop(searches.size(result), recommendations.response, request, result)

    async def Classify(
        self, request: pb.ClassifyRequest, context: ServicerContext[Any, Any]
    ) -> pb.ClassifyResponse:
        query = await off_loop(filters.size(request), classifications.query, request)
        found = await self._classifier.classify(query, Deadline.of_call())
        self._metrics.searched(found.neighbours)
        return await off_loop(searches.size(found.neighbours), classifications.response, found)

    async def Answer(
        self, request: pb.AnswerRequest, context: ServicerContext[Any, Any]
    ) -> pb.AnswerResponse:
        query = await off_loop(filters.size(request), answers.query, request)
        answered = await self._answerer.answer(query, Deadline.of_call())
        self._metrics.answered(answered)
        return answers.response(answered)

    async def Facets(
        self, request: pb.FacetsRequest, context: ServicerContext[Any, Any]
    ) -> pb.FacetsResponse:
        where = await off_loop(filters.size(request), filters.where, request)
        write_tokens.decode(request.read_after)  # the engine is asked as of now: any will do
        deadline = Deadline.of_call()
        collection = await self._collections.get(request.collection, deadline)
        limit = facets.limit(request)
        counts = await count_facets(
            self._matching, collection, request.field, where, limit, deadline
        )
        return await off_loop(limit, facets.response, counts)

    async def Locate(
        self, request: pb.LocateRequest, context: ServicerContext[Any, Any]
    ) -> pb.LocateResponse:
        raise later("Locate")

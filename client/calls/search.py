"""What is searched for."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from searchmesh import convert
from searchmesh.errors import InvalidRequest
from searchmesh.resources import RecommendStrategy
from searchmesh.rpc import Call, Rpc
from searchmesh.search.v1 import search_service_pb2
from searchmesh.vectors import VectorLike, vector_to
from searchmesh_common.errors import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh.contents import Content
    from searchmesh.queries import Diversity, Query, Search
    from searchmesh.results import (
        AnswerResult,
        BatchSearchResult,
        ClassifyResult,
        FacetResult,
        RecommendResult,
        SearchResult,
    )

_SEARCH = Rpc.of(
    search_service_pb2.DESCRIPTOR, "SearchService.Search", search_service_pb2.SearchResponse
)

_BATCH_SEARCH = Rpc.of(
    search_service_pb2.DESCRIPTOR,
    "SearchService.BatchSearch",
    search_service_pb2.BatchSearchResponse,
)

_RECOMMEND = Rpc.of(
    search_service_pb2.DESCRIPTOR, "SearchService.Recommend", search_service_pb2.RecommendResponse
)

_CLASSIFY = Rpc.of(
    search_service_pb2.DESCRIPTOR, "SearchService.Classify", search_service_pb2.ClassifyResponse
)

_ANSWER = Rpc.of(
    search_service_pb2.DESCRIPTOR, "SearchService.Answer", search_service_pb2.AnswerResponse
)

_FACETS = Rpc.of(
    search_service_pb2.DESCRIPTOR, "SearchService.Facets", search_service_pb2.FacetsResponse
)

_SEARCH_TIMEOUT = 10.0
_BATCH_TIMEOUT = 30.0
# a search for each of as many as 256 examples
_RECOMMEND_TIMEOUT = 30.0
_FACETS_TIMEOUT = 30.0


def search(
    collection: str,
    query: Content | None = None,
    *,
    vector: VectorLike | None = None,
    document_id: str | None = None,
    limit: int = 10,
    offset: int = 0,
    filter: str = "",  # noqa: A002 - as the contract calls it
    output_fields: Sequence[str] = (),
    min_score: float | None = None,
    group_by: str = "",
    group_size: int = 1,
    diversity: Diversity | None = None,
    read_after: str = "",
    explain: bool = False,
    timeout: float | None = None,
) -> Call[SearchResult]:
    """Find the documents nearest to a query, best first.

    query, vector, document_id: exactly one. A content (a str is a text), which the collection's
        model encodes; a vector of the collection's space; or a stored document, which is itself no
        hit.
    limit: 1 to 1000 hits. offset: 0 to 10000 best hits to pass over.
    filter: only documents that it is true for, as `year >= 2020 AND NOT kind = "draft"`; values of
        others go through `filter_value`.
    output_fields: names of attributes, `*` for every attribute, `$content` for the content, `$id`
        for nothing more. Default: every attribute.
    group_by: a declared attribute; at most `group_size` hits, 1 to 100, have the same value of it.
    diversity: hits are to be unlike each other, and come in the order in which they are chosen.
    read_after: a `write_token` whose write must be seen.
    """
    if sum(given is not None for given in (query, vector, document_id)) != 1:
        raise InvalidRequest.of("query", "give exactly one of query, vector and document_id")
    request = search_service_pb2.SearchRequest(
        collection=collection,
        vector=None if vector is None else vector_to(vector, "vector"),
        limit=limit,
        offset=offset,
        filter=convert.text_to(filter, "filter"),
        output_fields=output_fields,
        min_score=min_score,
        group_by=group_by,
        group_size=group_size if group_by else None,
        diversity=None if diversity is None else convert.diversity_to(diversity),
        read_after=read_after,
        explain=explain,
    )
    if document_id is not None:
        request.document_id = document_id
    if query is not None:
        _set_content(request, query)
    return Call(_SEARCH, request, convert.search_result_from, _SEARCH_TIMEOUT, timeout)


def batch_search(
    searches: Sequence[Search], *, timeout: float | None = None
) -> Call[Sequence[BatchSearchResult]]:
    """Make 1 to 64 searches, of any collections, in one call; each fails alone.

    Their contents are encoded together, which is quicker than one after the other. The results come
    in the order given.
    """
    request = search_service_pb2.BatchSearchRequest(
        requests=[_request(one, f"searches[{place}]") for place, one in enumerate(searches)]
    )
    return Call(_BATCH_SEARCH, request, convert.batch_results_from, _BATCH_TIMEOUT, timeout)


def recommend(
    collection: str,
    liked: Sequence[Query],
    disliked: Sequence[Query] = (),
    *,
    strategy: RecommendStrategy = RecommendStrategy.UNSPECIFIED,
    seen_ids: Sequence[str] = (),
    limit: int = 10,
    filter: str = "",  # noqa: A002 - as the contract calls it
    output_fields: Sequence[str] = (),
    read_after: str = "",
    timeout: float | None = None,
) -> Call[RecommendResult]:
    """Find documents like those that were liked and unlike those that were not, best first.

    liked: 1 to 256 contents (a str is a text), vectors, and stored documents, as
        `DocumentId("42")`. disliked: at most 256. Documents among them are not recommended.
    seen_ids: at most 10000 documents that are not recommended either.
    limit: 1 to 1000 hits. filter, output_fields, read_after: as of `search`.
    """
    request = search_service_pb2.RecommendRequest(
        collection=collection,
        liked=[convert.query_to(one, f"liked[{place}]") for place, one in enumerate(liked)],
        disliked=[
            convert.query_to(one, f"disliked[{place}]") for place, one in enumerate(disliked)
        ],
        strategy=convert.enum_to(
            search_service_pb2.RecommendStrategy, "RECOMMEND_STRATEGY", strategy
        ),
        seen_ids=[convert.text_to(one, f"seen_ids[{place}]") for place, one in enumerate(seen_ids)],
        limit=limit,
        filter=convert.text_to(filter, "filter"),
        output_fields=output_fields,
        read_after=read_after,
    )
    return Call(_RECOMMEND, request, convert.recommend_result_from, _RECOMMEND_TIMEOUT, timeout)


def classify(
    collection: str,
    query: Query,
    field: str,
    *,
    neighbours: int = 5,
    filter: str = "",  # noqa: A002 - as the contract calls it
    read_after: str = "",
    timeout: float | None = None,
) -> Call[ClassifyResult]:
    """Name the class of a query by a vote of its nearest documents, weighted by score.

    query: a content (a str is a text), a vector, or a stored document, as `DocumentId("42")`.
    field: the declared attribute that holds the class; documents without it do not vote.
    neighbours: documents that vote, 1 to 1000.
    filter: only documents that it is true for vote. read_after: as of `search`.
    """
    request = search_service_pb2.ClassifyRequest(
        collection=collection,
        query=convert.query_to(query, "query"),
        field=field,
        neighbours=neighbours,
        filter=convert.text_to(filter, "filter"),
        read_after=read_after,
    )
    return Call(_CLASSIFY, request, convert.classify_result_from, _SEARCH_TIMEOUT, timeout)


def answer(
    collection: str,
    question: str,
    answer_field: str,
    *,
    threshold: float | None = None,
    alternatives: int = 3,
    filter: str = "",  # noqa: A002 - as the contract calls it
    read_after: str = "",
    timeout: float | None = None,
) -> Call[AnswerResult]:
    """Answer a question with the stored answer of the nearest stored question, if it is near
    enough.

    The documents' texts are the questions.
    answer_field: the attribute that holds the answers.
    threshold: least score of a question that is near enough; `searchmesh calibrate` finds one.
        Default: 0.7 by cosine and Jaccard, otherwise it is required.
    alternatives: at most so many of the next best, 0 to 100.
    filter: only documents that it is true for. read_after: as of `search`.
    """
    request = search_service_pb2.AnswerRequest(
        collection=collection,
        question=convert.text_to(question, "question"),
        answer_field=answer_field,
        threshold=threshold,
        alternatives=alternatives,
        filter=convert.text_to(filter, "filter"),
        read_after=read_after,
    )
    return Call(_ANSWER, request, convert.answer_result_from, _SEARCH_TIMEOUT, timeout)


def facets(
    collection: str,
    field: str,
    *,
    filter: str = "",  # noqa: A002 - as the contract calls it
    limit: int = 10,
    read_after: str = "",
    timeout: float | None = None,
) -> Call[FacetResult]:
    """Count a collection's documents by the values of a declared attribute.

    filter: only documents that it is true for.
    limit: most values, 1 to 1000; those with the most documents come.
    read_after: a `write_token` whose write must be seen.
    """
    request = search_service_pb2.FacetsRequest(
        collection=collection,
        field=field,
        filter=convert.text_to(filter, "filter"),
        limit=limit,
        read_after=read_after,
    )
    return Call(_FACETS, request, convert.facet_result_from, _FACETS_TIMEOUT, timeout)


def _request(one: Search, path: str) -> search_service_pb2.SearchRequest:
    given = {field.name: getattr(one, field.name) for field in fields(one)}
    try:
        request = search(**given).request
    except InvalidRequest as error:
        raise within(error, path) from None
    assert isinstance(request, search_service_pb2.SearchRequest)
    return request


def _set_content(request: search_service_pb2.SearchRequest, query: Content) -> None:
    """The request's query has the kinds of a content under the same names."""
    content = convert.content_to(query, "query")
    kind = content.WhichOneof("content")
    assert kind is not None
    setattr(request, kind, getattr(content, kind))

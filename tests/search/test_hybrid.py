"""Hybrid search: through the service, and with a part of it away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest
import pytest_asyncio

from searchmesh.search.v1 import collection_service_pb2 as collections_pb
from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1 import vector_pb2
from searchmesh.type.v1.content_pb2 import Content
from searchmesh_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    ServiceError,
    Unavailable,
)
from searchmesh_search.content import Content as SearchContent
from searchmesh_search.content import Modality
from searchmesh_search.deadline import Deadline
from searchmesh_search.engine import Lexical
from searchmesh_search.hybrid import LEAST_DEPTH, depth
from searchmesh_search.searcher import Mode, Searcher, SearchQuery

from .mesh import faults, refused
from .stack import document, soon

if TYPE_CHECKING:
    from searchmesh_search.searcher import SearchResult

    from .mesh import Mesh
    from .stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = {"a": "red apple", "b": "red", "c": "green pear", "d": "blue plum tree"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fruits(mesh: Mesh) -> str:
    await mesh.create("fruits", model="tiny", lexical=collections_pb.Lexical())
    await mesh.upsert(
        "fruits", *(Document(id=name, content=Content(text=text)) for name, text in TEXTS.items())
    )
    return "fruits"


async def test_contributions_add_up_to_the_score(mesh: Mesh, fruits: str) -> None:
    fusion = pb.Fusion(dense_weight=0.7, lexical_weight=2.0, rank_constant=10)
    answer = await mesh.find(fruits, text="red", mode=pb.MODE_HYBRID, fusion=fusion, explain=True)
    assert answer.metric == vector_pb2.METRIC_RANK_FUSION
    assert not answer.partial
    assert {hit.id for hit in answer.hits} == set(TEXTS)
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    for hit in answer.hits:
        explain = hit.explain
        assert hit.score == explain.dense_contribution + explain.lexical_contribution
        assert explain.dense_contribution == 0.7 / (10 + explain.dense_rank)
        assert explain.HasField("lexical_rank") == (hit.id in "ab")
        if explain.HasField("lexical_rank"):
            assert explain.lexical_contribution == 2.0 / (10 + explain.lexical_rank)
    assert answer.explain.model == "tiny"
    assert answer.explain.total_ms >= (
        answer.explain.encode_ms + answer.explain.search_ms + answer.explain.fuse_ms
    )


async def test_the_lists_are_those_of_the_other_modes(mesh: Mesh, fruits: str) -> None:
    answer = await mesh.find(fruits, text="red", mode=pb.MODE_HYBRID, explain=True)
    lists: tuple[tuple[pb.Mode.ValueType, Literal["dense_rank", "lexical_rank"], str], ...] = (
        (pb.MODE_DENSE, "dense_rank", "dense_score"),
        (pb.MODE_LEXICAL, "lexical_rank", "lexical_score"),
    )
    for mode, rank, score in lists:
        alone = await mesh.find(fruits, text="red", mode=mode)
        told = {
            getattr(hit.explain, rank): (hit.id, getattr(hit.explain, score))
            for hit in answer.hits
            if hit.explain.HasField(rank)
        }
        assert told == {place: (hit.id, hit.score) for place, hit in enumerate(alone.hits, 1)}


async def test_a_weight_of_nothing_leaves_a_list_out(mesh: Mesh, fruits: str) -> None:
    fusion = pb.Fusion(dense_weight=0)
    answer = await mesh.find(fruits, text="red", mode=pb.MODE_HYBRID, fusion=fusion)
    assert [hit.id for hit in answer.hits] == ["b", "a"]


async def test_pages_follow_each_other(mesh: Mesh, fruits: str) -> None:
    whole = await mesh.find(fruits, text="red", mode=pb.MODE_HYBRID)
    pages = [
        await mesh.find(fruits, text="red", mode=pb.MODE_HYBRID, limit=2, offset=at)
        for at in (0, 2, 4)
    ]
    assert [hit.id for page in pages for hit in page.hits] == [hit.id for hit in whole.hits]
    least = whole.hits[1].score
    good = await mesh.find(fruits, text="red", mode=pb.MODE_HYBRID, min_score=least)
    assert len(good.hits) == 2


async def test_fusion_that_joins_nothing_is_refused(mesh: Mesh, fruits: str) -> None:
    nothing = pb.Fusion(dense_weight=0, lexical_weight=0)
    assert await faults(mesh.find(fruits, text="x", mode=pb.MODE_HYBRID, fusion=nothing)) == [
        "fusion"
    ]
    assert await faults(mesh.find(fruits, text="x", fusion=pb.Fusion())) == ["fusion"]


async def test_lists_grow_in_steps() -> None:
    assert [depth(wanted) for wanted in (1, LEAST_DEPTH, 101, 401)] == [100, 100, 400, 1600]


def hybrid(**changes: Any) -> SearchQuery:
    content = SearchContent(Modality.TEXT, "red")
    return SearchQuery("things", content=content, mode=Mode.HYBRID, **changes)


@pytest_asyncio.fixture(loop_scope="module")
async def searcher(stack: Stack) -> Searcher:
    things = await stack.collection(model="tiny", lexical=Lexical())
    await stack.upsert(things, *(document(name, None, text=text) for name, text in TEXTS.items()))
    return Searcher(
        stack.journal, stack.collections, stack.documents, stack.engine, stack.models.encode_query
    )


def ids(result: SearchResult) -> list[str]:
    return [hit.document_id for hit in result.hits]


async def away(*_arguments: object, **_named: object) -> Any:
    raise Unavailable("the encoder is away")


async def hangs(_model: str, _print: str, _content: object, deadline: Deadline) -> Any:
    await asyncio.sleep(deadline.remaining())
    raise DeadlineExceeded("the encoder did not answer in time")


@pytest.mark.parametrize("encode", [away, hangs])
async def test_without_the_encoder_words_answer_where_that_will_do(
    searcher: Searcher, encode: Any
) -> None:
    with pytest.raises((Unavailable, DeadlineExceeded)):
        await searcher.search(hybrid(), Deadline.after(0.3), encode)
    result = await searcher.search(hybrid(allow_partial=True), Deadline.after(1.5), encode)
    assert ids(result) == ["b", "a"]
    assert list(result.missing) == [Mode.DENSE]
    assert isinstance(result.missing[Mode.DENSE], Unavailable | DeadlineExceeded)


async def test_without_one_list_of_the_engine_the_other_answers(
    stack: Stack, searcher: Searcher
) -> None:
    stack.engine.fail_once("search_words", Unavailable("the engine is away"))
    result = await searcher.search(hybrid(allow_partial=True), soon())
    assert set(ids(result)) == set(TEXTS)
    assert list(result.missing) == [Mode.LEXICAL]
    stack.engine.fail_once("search_words", Unavailable("the engine is away"))
    with pytest.raises(Unavailable):
        await searcher.search(hybrid(), soon())


async def test_without_both_lists_there_is_no_answer(stack: Stack, searcher: Searcher) -> None:
    stack.engine.fail_once("search_words", Unavailable("the engine is away"))
    with pytest.raises(Unavailable, match="encoder"):
        await searcher.search(hybrid(allow_partial=True), soon(), away)


@pytest.mark.parametrize(
    "error", [InvalidRequest.of("text", "is bad"), FailedPrecondition("MODEL", "another")]
)
async def test_a_faulty_query_is_an_error_all_the_same(
    searcher: Searcher, error: ServiceError
) -> None:
    async def refuses(*_arguments: object, **_named: object) -> Any:
        raise error

    with pytest.raises(type(error)):
        await searcher.search(hybrid(allow_partial=True), soon(), refuses)


async def test_what_is_replaced_between_the_searches_is_shown_as_it_is_now(
    stack: Stack, searcher: Searcher
) -> None:
    things = await stack.collections.get("things", soon())

    async def replace_and_search(search: Any, *given: Any, **named: Any) -> Any:
        stack.engine.restore("search_words")
        await stack.upsert(things, document("a", None, text="red now", stored=b"now"))
        return await search(*given, **named)

    stack.engine.patch("search_words", replace_and_search)
    result = await searcher.search(hybrid(), soon())
    (found,) = (hit for hit in result.hits if hit.document_id == "a")
    assert found.stored == b"now"


async def test_an_answer_that_is_partial_says_so(mesh: Mesh, fruits: str) -> None:
    """Over the wire a whole answer names nothing that is missing."""
    answer = await mesh.find(fruits, text="red", mode=pb.MODE_HYBRID, allow_partial=True)
    assert not answer.partial
    assert not answer.missing
    error = await refused(mesh.find("missing", text="red", mode=pb.MODE_HYBRID, allow_partial=True))
    assert isinstance(error, ServiceError)

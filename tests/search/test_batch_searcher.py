"""Many searches in one call: what becomes of each, and what they share."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1.content_pb2 import Content as ContentMessage
from searchmesh_common import status
from searchmesh_common.errors import (
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    ServiceError,
    Unavailable,
    Unsupported,
)
from searchmesh_search.at_once import SEARCHES_AT_ONCE
from searchmesh_search.batch_searcher import BatchSearcher
from searchmesh_search.content import Content, Modality
from searchmesh_search.found_rows import FoundRows
from searchmesh_search.refiner import RefinedQuery, Refiner
from searchmesh_search.searcher import Searcher, SearchQuery, SearchResult

from .mesh import SECONDS, faults, faulty_fields, floats
from .stack import document, soon

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_search.deadline import Deadline
    from searchmesh_search.encoder_client import EncodedQuery

    from .mesh import Mesh
    from .stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

# what is tested here does not hang on the journal's database
on_sqlite = pytest.mark.parametrize("journal_url", ["sqlite"], indirect=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def words(mesh: Mesh) -> str:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, model="tiny")
    documents = [Document(id=one, content=ContentMessage(text=one)) for one in ("alpha", "beta")]
    await mesh.upsert(name, *documents)
    return name


async def batch(mesh: Mesh, *requests: pb.SearchRequest) -> list[pb.BatchSearchResult]:
    request = pb.BatchSearchRequest(requests=requests)
    return list((await mesh.search.BatchSearch(request, timeout=SECONDS)).results)


async def test_each_search_is_answered_as_it_would_be_alone(mesh: Mesh, words: str) -> None:
    requests = [
        pb.SearchRequest(collection=words, text="alpha", explain=True),
        pb.SearchRequest(collection=words, document_id="alpha", output_fields=["$id"]),
        pb.SearchRequest(collection=words, text="beta", limit=1, output_fields=["$content"]),
        pb.SearchRequest(collection=words, vector=floats(*[1] * 16), offset=1),
    ]
    answers = [one.response for one in await batch(mesh, *requests)]
    explain = answers[0].explain
    assert explain.model == "tiny"
    assert 0 < explain.queue_ms <= explain.encode_ms
    assert explain.encode_ms + explain.search_ms + explain.fuse_ms <= explain.total_ms
    for answer in answers:
        answer.ClearField("explain")
    alone = [await mesh.search.Search(one, timeout=SECONDS) for one in requests]
    alone[0].ClearField("explain")
    assert answers == alone


async def test_each_search_fails_alone_and_names_its_fields(mesh: Mesh, words: str) -> None:
    outcomes = await batch(
        mesh,
        pb.SearchRequest(collection=words, text="alpha", limit=0),
        pb.SearchRequest(collection="Missing!"),
        pb.SearchRequest(collection="missing", text="alpha"),
        pb.SearchRequest(collection=words, text=" "),
        pb.SearchRequest(collection=words, smiles="CCO"),
        pb.SearchRequest(collection=words, document_id="missing"),
        pb.SearchRequest(collection=words, text="alpha", substructure="C"),
        pb.SearchRequest(collection=words, text="alpha", filter="year >"),
        pb.SearchRequest(collection=words, text="alpha"),
    )
    errors = [status.from_proto(one.error) for one in outcomes[:-1]]
    assert [faulty_fields(errors[place]) for place in (0, 1, 3, 7)] == [
        ["requests[0].limit"],
        ["requests[1].query", "requests[1].collection"],
        ["requests[3].text"],
        ["requests[7].filter"],
    ]
    assert [type(errors[place]) for place in (2, 4, 5, 6)] == [
        NotFound,
        FailedPrecondition,
        NotFound,
        Unsupported,
    ]
    assert errors[5].message.startswith("requests[5]: no document 'missing'")
    assert len(outcomes[-1].response.hits) == 2


@pytest.mark.parametrize("count", [0, 65])
async def test_a_batch_is_of_1_to_64_searches(mesh: Mesh, words: str, count: int) -> None:
    assert await faults(batch(mesh, *[pb.SearchRequest(collection=words)] * count)) == ["requests"]


class CountingModels:
    """Counts the calls that would go to the encoder."""

    def __init__(self, stack: Stack) -> None:
        self._models = stack.models
        self.together: list[list[str | bytes]] = []
        self.fails = False

    async def encode_queries(
        self, model: str, fingerprint: str, contents: Sequence[Content], deadline: Deadline
    ) -> Sequence[EncodedQuery | ServiceError]:
        self.together.append([one.data for one in contents])
        if self.fails:
            raise Unavailable("the encoder is away")
        return await self._models.encode_queries(model, fingerprint, contents, deadline)

    async def encode_query(
        self, model: str, fingerprint: str, content: Content, deadline: Deadline
    ) -> EncodedQuery:
        raise AssertionError("encoded alone")


def searches(stack: Stack, models: CountingModels) -> BatchSearcher:
    searcher = Searcher(
        stack.journal, stack.collections, stack.documents, stack.engine, models.encode_query
    )
    rows = FoundRows(stack.journal, stack.engine)
    refiner = Refiner(searcher, rows, models.encode_query)
    return BatchSearcher(stack.collections, refiner, models.encode_query, models.encode_queries)


def text(written: str) -> RefinedQuery:
    return query(content=Content(Modality.TEXT, written))


def query(**of: Any) -> RefinedQuery:
    return RefinedQuery(SearchQuery("texts", **of))


@on_sqlite
async def test_contents_are_encoded_in_one_call_and_equal_ones_once(stack: Stack) -> None:
    await stack.upsert(await stack.collection("texts", model="tiny"), document("a", text="a"))
    models = CountingModels(stack)
    given = [text("aa"), text("bbb"), text("aa"), text(""), query(document_id="a")]
    *found, empty, _ = await searches(stack, models).search(given, soon())
    assert models.together == [["aa", "bbb", ""]]
    assert all(isinstance(one, SearchResult) for one in found)
    assert isinstance(empty, InvalidRequest)


@on_sqlite
async def test_an_encoder_that_is_away_fails_only_what_it_must_encode(stack: Stack) -> None:
    texts = await stack.collection("texts", model="tiny")
    await stack.upsert(texts, document("a", text="a"), document("b", text="b"))
    models = CountingModels(stack)
    models.fails = True
    given = [text("aa"), query(document_id="a")]
    failed, found = await searches(stack, models).search(given, soon())
    assert isinstance(failed, Unavailable)
    assert isinstance(found, SearchResult)
    assert [hit.document_id for hit in found.hits] == ["b"]


@on_sqlite
async def test_a_batch_does_not_search_with_all_its_might(stack: Stack) -> None:
    await stack.upsert(await stack.collection("texts", model="tiny"), document("a", text="a"))
    at_once = most_at_once = 0

    async def count(search: Any, *given: Any, **named: Any) -> Any:
        nonlocal at_once, most_at_once
        at_once += 1
        most_at_once = max(most_at_once, at_once)
        await asyncio.sleep(0.01)
        found = await search(*given, **named)
        at_once -= 1
        return found

    stack.engine.patch("search", count)
    given = [text(f"{number}") for number in range(20)]
    outcomes = await searches(stack, CountingModels(stack)).search(given, soon())
    assert all(isinstance(one, SearchResult) for one in outcomes)
    assert most_at_once == SEARCHES_AT_ONCE

"""Hits of few groups and hits that differ, over the wire, and while documents are replaced."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_asyncio

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.search.v1.collection_service_pb2 import FIELD_TYPE_INT64, FIELD_TYPE_STRING, Field
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1.content_pb2 import Content
from searchmesh_search import refiner
from searchmesh_search.content import Content as Asked
from searchmesh_search.content import Modality
from searchmesh_search.engine import DeclaredField, FieldType
from searchmesh_search.found_rows import FoundRows
from searchmesh_search.refiner import Diversity, Grouping, RefinedQuery, Refiner
from searchmesh_search.searcher import Searcher, SearchQuery

from .mesh import faults, floats
from .stack import document, soon
from .test_search_servicer import attributes

if TYPE_CHECKING:
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.encoder_client import EncodedQuery
    from searchmesh_search.searcher import EncodeQuery

    from .mesh import Mesh
    from .stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

# what is tested here does not hang on the journal's database
on_sqlite = pytest.mark.parametrize("journal_url", ["sqlite"], indirect=True)

SHELF: list[tuple[str, int, int, dict[str, Any]]] = [
    ("r9", 9, 0, {"color": "red", "size": 1}),
    ("r8", 8, 0, {"color": "red", "size": 1}),
    ("n7", 7, 3, {"size": 2}),
    ("r6", 6, 0, {"color": "red", "size": 2}),
    ("n5", 5, 6, {"color": None}),
    ("b4", 4, -9, {"color": "blue", "size": 1}),
    ("r3", 3, 0, {"color": "red"}),
    ("b2", 2, -9, {"color": "blue"}),
]
"""Ids, their score for (1, 0, 0, 0), a component that it does not see, and attributes."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shelf(mesh: Mesh) -> str:
    name = f"c{uuid.uuid4().hex}"
    fields = [
        Field(name="color", type=FIELD_TYPE_STRING),
        Field(name="size", type=FIELD_TYPE_INT64),
    ]
    await mesh.create(name, fields=fields)
    await mesh.upsert(
        name,
        *(
            Document(id=one, vector=floats(score, other, 0, 0), attributes=attributes(**values))
            for one, score, other, values in SHELF
        ),
    )
    return name


async def found(mesh: Mesh, collection: str, **request: Any) -> list[str]:
    if not request.keys() & {"text", "document_id"}:
        request["vector"] = floats(1, 0, 0, 0)
    return [hit.id for hit in (await mesh.find(collection, **request)).hits]


def weighing(weight: float) -> pb.Diversity:
    message = pb.Diversity()
    # a keyword of Python's
    setattr(message, "lambda", weight)
    return message


async def test_the_best_of_each_group(mesh: Mesh, shelf: str) -> None:
    assert await found(mesh, shelf, group_by="color") == ["r9", "n7", "n5", "b4"]
    pairs = await found(mesh, shelf, group_by="color", group_size=2)
    assert pairs == ["r9", "r8", "n7", "n5", "b4", "b2"]
    assert await found(mesh, shelf, group_by="size", limit=2) == ["r9", "n7"]
    assert await found(mesh, shelf, group_by="color", limit=2, offset=2) == ["n5", "b4"]
    assert await found(mesh, shelf, group_by="color", filter="size = 2") == ["n7", "r6"]
    assert await found(mesh, shelf, group_by="color", min_score=6) == ["r9", "n7"]
    assert await found(mesh, shelf, group_by="color", document_id="r9", limit=1) == ["r8"]
    bare = await mesh.find(
        shelf, vector=floats(1, 0, 0, 0), group_by="color", output_fields=["$id"], limit=1
    )
    assert list(bare.hits) == [pb.Hit(id="r9", score=9)]


async def test_it_looks_on_until_there_are_enough_groups(
    mesh: Mesh, shelf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refiner, "LOOK_GROWTH", 2)
    assert await found(mesh, shelf, group_by="color", limit=4) == ["r9", "n7", "n5", "b4"]
    monkeypatch.setattr(refiner, "MAX_LOOK", 4)
    assert await found(mesh, shelf, group_by="color", limit=4) == ["r9", "n7"]


async def test_hits_that_differ(mesh: Mesh, shelf: str) -> None:
    plain = [one for one, *_ in SHELF]
    assert await found(mesh, shelf, diversity=weighing(1)) == plain
    assert await found(mesh, shelf, diversity=weighing(0.2), limit=2) == ["r9", "b2"]
    # what is chosen does not hang on where the page ends
    every = await found(mesh, shelf, diversity=pb.Diversity(candidates=8))
    for offset in (0, 2, 4, 6):
        page = await found(
            mesh, shelf, diversity=pb.Diversity(candidates=8), limit=2, offset=offset
        )
        assert page == every[offset : offset + 2]
    few = await found(mesh, shelf, diversity=pb.Diversity(candidates=3))
    assert sorted(few) == sorted(plain[:3])
    both = await found(mesh, shelf, diversity=weighing(0.1), group_by="color", limit=2)
    assert both == ["r9", "b4"]
    assert await found(mesh, shelf, diversity=pb.Diversity(), filter="size = 9") == []


async def test_passages_differ(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, model="tiny", segmentation="SEGMENTATION_SEGMENTS")
    texts = {"a": "alpha", "copy": "alpha", "other": "xyz 123", "long": "One two. " * 20}
    await mesh.upsert(
        name, *(Document(id=one, content=Content(text=text)) for one, text in texts.items())
    )
    first, second = await found(mesh, name, text="alpha", diversity=pb.Diversity(), limit=2)
    assert {first, second} != {"a", "copy"}
    explained = await mesh.find(name, text="alpha", diversity=pb.Diversity(), explain=True)
    explain = explained.explain
    parts = explain.encode_ms + explain.search_ms + explain.fuse_ms
    assert 0 < parts <= explain.total_ms
    assert explained.hits[0].segment.text.text


async def test_a_faulty_request_names_its_field(mesh: Mesh, shelf: str) -> None:
    for request, field in (
        ({"group_by": "missing"}, "group_by"),
        ({"group_by": "not one"}, "group_by"),
        ({"group_by": "color", "group_size": 0}, "group_size"),
        ({"group_by": "color", "group_size": 101}, "group_size"),
        ({"group_size": 2}, "group_size"),
        ({"diversity": weighing(1.5)}, "diversity.lambda"),
        ({"diversity": pb.Diversity(candidates=1001)}, "diversity.candidates"),
    ):
        assert await faults(found(mesh, shelf, **request)) == [field]


@on_sqlite
@pytest.mark.parametrize(
    ("method", "refined"),
    [("values", {"grouping": Grouping("kind")}), ("vectors", {"diversity": Diversity(0.5, None)})],
)
async def test_a_document_replaced_after_it_was_found_is_still_a_hit(
    stack: Stack, method: str, refined: dict[str, Any]
) -> None:
    things = await stack.collection(fields=[DeclaredField("kind", FieldType.STRING)])
    await stack.upsert(things, document("a", [1, 0, 0, 0]), document("b", [2, 0, 0, 0]))

    async def replace_and_ask(ask: Any, *given: Any, **named: Any) -> Any:
        stack.engine.restore(method)
        await stack.upsert(things, document("a", [3, 0, 0, 0]))
        await stack.sweeper.sweep(soon())
        return await ask(*given, **named)

    stack.engine.patch(method, replace_and_ask)
    search = SearchQuery("things", vector=np.array([1, 0, 0, 0], np.float32))
    result = await refining(stack, stack.models.encode_query).search(
        RefinedQuery(search, **refined), soon()
    )
    assert [(hit.document_id, hit.score) for hit in result.hits] == [("a", 3), ("b", 2)]


@on_sqlite
async def test_however_often_it_searches_it_encodes_once(stack: Stack) -> None:
    texts = await stack.collection(
        "texts", model="tiny", fields=[DeclaredField("kind", FieldType.STRING)]
    )
    alike = [document(f"d{place}", text="a", attributes={"kind": "x"}) for place in range(9)]
    await stack.upsert(texts, *alike, document("other", text="b" * 9, attributes={"kind": "y"}))
    encoded = 0

    async def encode_query(
        model: str, fingerprint: str, content: Asked, deadline: Deadline
    ) -> EncodedQuery:
        nonlocal encoded
        encoded += 1
        return await stack.models.encode_query(model, fingerprint, content, deadline)

    search = SearchQuery("texts", content=Asked(Modality.TEXT, "a"), limit=2)
    query = RefinedQuery(search, Grouping("kind"))
    result = await refining(stack, encode_query).search(query, soon())
    assert [hit.document_id for hit in result.hits] == ["d0", "other"]
    assert encoded == 1


def refining(stack: Stack, encode_query: EncodeQuery) -> Refiner:
    searcher = Searcher(
        stack.journal, stack.collections, stack.documents, stack.engine, encode_query
    )
    return Refiner(searcher, FoundRows(stack.journal, stack.engine), encode_query)

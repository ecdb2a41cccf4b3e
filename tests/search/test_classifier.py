"""Classes by a vote, over the wire."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.search.v1.collection_service_pb2 import (
    FIELD_TYPE_BOOL,
    FIELD_TYPE_INT64,
    FIELD_TYPE_STRING,
    Field,
)
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1.content_pb2 import Content
from searchmesh.type.v1.vector_pb2 import METRIC_INNER_PRODUCT
from searchmesh_common.errors import FailedPrecondition, NotFound

from .mesh import SECONDS, faults, floats, refused
from .test_search_servicer import attributes

if TYPE_CHECKING:
    from .mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLASSES: dict[str, tuple[int, dict[str, Any]]] = {
    "a1": (9, {"kind": "a", "year": 1, "sold": True, "size": 3}),
    "b1": (8, {"kind": "b", "year": 2, "sold": True}),
    "none": (7, {"year": 2}),
    "b2": (6, {"kind": "b", "year": 2, "sold": False}),
    "null": (5, {"kind": None}),
    "c1": (-4, {"kind": "c", "year": 3, "sold": False}),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def things(mesh: Mesh) -> str:
    """Documents by their score for (1, 0, 0, 0), and their attributes."""
    name = f"c{uuid.uuid4().hex}"
    fields = [
        Field(name="kind", type=FIELD_TYPE_STRING),
        Field(name="year", type=FIELD_TYPE_INT64),
        Field(name="sold", type=FIELD_TYPE_BOOL),
    ]
    await mesh.create(name, fields=fields)
    await mesh.upsert(
        name,
        *(
            Document(id=one, vector=floats(score, 1, 0, 0), attributes=attributes(**values))
            for one, (score, values) in CLASSES.items()
        ),
    )
    return name


async def classify(
    mesh: Mesh, collection: str, field: str = "kind", **request: Any
) -> pb.ClassifyResponse:
    request.setdefault("query", pb.Query(vector=floats(1, 0, 0, 0)))
    message = pb.ClassifyRequest(collection=collection, field=field, **request)
    response: pb.ClassifyResponse = await mesh.search.Classify(message, timeout=SECONDS)
    return response


def votes(response: pb.ClassifyResponse) -> list[tuple[object, float, int]]:
    return [
        (getattr(one.value, str(one.value.WhichOneof("kind"))), round(one.share, 6), one.count)
        for one in response.votes
    ]


async def test_the_nearest_that_have_a_class_vote(mesh: Mesh, things: str) -> None:
    response = await classify(mesh, things)
    assert votes(response) == [("b", round(14 / 23, 6), 2), ("a", round(9 / 23, 6), 1), ("c", 0, 1)]
    assert response.metric == METRIC_INNER_PRODUCT
    assert [(hit.id, hit.score) for hit in response.neighbours] == [
        ("a1", 9),
        ("b1", 8),
        ("b2", 6),
        ("c1", -4),
    ]
    assert dict(response.neighbours[0].attributes) == CLASSES["a1"][1]
    assert votes(await classify(mesh, things, neighbours=1)) == [("a", 1, 1)]
    some = await classify(mesh, things, filter="year = 2 OR kind = 'c'")
    assert votes(some) == [("b", 1, 2), ("c", 0, 1)]
    assert votes(await classify(mesh, things, "year", neighbours=3)) == [
        (2, round(15 / 24, 6), 2),
        (1, round(9 / 24, 6), 1),
    ]
    sold = votes(await classify(mesh, things, "sold", neighbours=3))
    assert [value for value, *_ in sold] == [True, False]


async def test_a_document_does_not_vote_on_itself(mesh: Mesh, things: str) -> None:
    response = await classify(mesh, things, query=pb.Query(document_id="a1"))
    assert "a1" not in [hit.id for hit in response.neighbours]
    assert votes(response)[0][0] == "b"


async def test_nobody_votes_where_nobody_has_a_class(mesh: Mesh, things: str) -> None:
    nobody = await classify(mesh, things, filter="year = 99")
    assert (votes(nobody), list(nobody.neighbours)) == ([], [])
    assert nobody.metric == METRIC_INNER_PRODUCT


async def test_contents_are_classified(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, model="tiny", fields=[Field(name="kind", type=FIELD_TYPE_STRING)])
    texts = {"abc": "letters", "abcd": "letters", "123": "digits"}
    await mesh.upsert(
        name,
        *(
            Document(id=text, content=Content(text=text), attributes=attributes(kind=kind))
            for text, kind in texts.items()
        ),
    )
    query = pb.Query(content=Content(text="123"))
    assert votes(await classify(mesh, name, query=query, neighbours=1)) == [("digits", 1, 1)]
    empty = classify(mesh, name, query=pb.Query(content=Content(text="")))
    assert await faults(empty) == ["query.content.text"]


async def test_a_faulty_request_names_its_field(mesh: Mesh, things: str) -> None:
    assert await faults(classify(mesh, things, "size")) == ["field"]
    assert await faults(classify(mesh, things, "")) == ["field"]
    for request, field in (
        ({"query": None}, "query"),
        ({"query": pb.Query()}, "query.query"),
        ({"query": pb.Query(vector=floats(1))}, "query.vector"),
        ({"neighbours": 0}, "neighbours"),
        ({"neighbours": 1001}, "neighbours"),
        ({"filter": "size = 3"}, "filter"),
        ({"read_after": "x"}, "read_after"),
    ):
        assert await faults(classify(mesh, things, **request)) == [field]
    missing = await refused(classify(mesh, things, query=pb.Query(document_id="x")))
    assert isinstance(missing, NotFound)
    assert missing.message.startswith("query.document_id: ")
    text = await refused(classify(mesh, things, query=pb.Query(content=Content(text="x"))))
    assert isinstance(text, FailedPrecondition)
    assert text.reason == "NO_MODEL"

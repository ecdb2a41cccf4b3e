from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import numpy as np
import pytest
import pytest_asyncio
from google.protobuf.struct_pb2 import Struct

from searchmesh.search.v1 import document_service_pb2 as documents_pb
from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1 import vector_pb2
from searchmesh.type.v1.content_pb2 import Content
from searchmesh_common.errors import (
    FailedPrecondition,
    NotFound,
    Unsupported,
)

from .mesh import faults, floats, refused

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any

    from .mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")


def attributes(**values: Any) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(mesh: Mesh) -> str:
    """A collection of ten documents whose score for (1, 0, 0, 0) is their number."""
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name)
    await mesh.upsert(
        name,
        *(
            Document(
                id=f"d{number}",
                vector=floats(number, 1, 0, 0),
                content=Content(text=f"number {number}"),
                attributes=attributes(number=number, even=number % 2 == 0),
            )
            for number in range(10)
        ),
    )
    return name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def texts(mesh: Mesh) -> str:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, model="tiny")
    words = ["alpha", "beta", "gamma", "delta"]
    await mesh.upsert(name, *(Document(id=one, content=Content(text=one)) for one in words))
    return name


def search(mesh: Mesh, collection: str, **request: Any) -> Awaitable[pb.SearchResponse]:
    if not request.keys() & {"text", "document_id", "image", "vector", "smiles"}:
        request["vector"] = floats(1, 0, 0, 0)
    return mesh.find(collection, **request)


def ids(response: pb.SearchResponse) -> list[str]:
    return [hit.id for hit in response.hits]


async def test_hits_come_best_first_with_their_attributes(mesh: Mesh, line: str) -> None:
    response = await search(mesh, line, limit=3)
    assert [(hit.id, hit.score) for hit in response.hits] == [("d9", 9), ("d8", 8), ("d7", 7)]
    assert response.metric == vector_pb2.METRIC_INNER_PRODUCT
    assert dict(response.hits[0].attributes) == {"number": 9, "even": False}
    assert not response.hits[0].HasField("content")
    assert not response.HasField("explain")
    assert not response.partial


async def test_limit_and_offset(mesh: Mesh, line: str) -> None:
    assert len((await search(mesh, line)).hits) == 10
    assert ids(await search(mesh, line, limit=2, offset=3)) == ["d6", "d5"]
    assert ids(await search(mesh, line, limit=5, offset=8)) == ["d1", "d0"]
    assert ids(await search(mesh, line, offset=100)) == []
    assert ids(await search(mesh, line, min_score=7.5)) == ["d9", "d8"]
    assert ids(await search(mesh, line, limit=1000, offset=10_000)) == []


async def test_output_fields(mesh: Mesh, line: str) -> None:
    only = (await search(mesh, line, limit=1, output_fields=["even", "missing"])).hits[0]
    assert dict(only.attributes) == {"even": False}
    content = (await search(mesh, line, limit=1, output_fields=["$content"])).hits[0]
    assert content.content.text == "number 9"
    assert not content.attributes.fields
    everything = (await search(mesh, line, limit=1, output_fields=["*", "$content"])).hits[0]
    assert everything.content.text == "number 9"
    assert len(everything.attributes.fields) == 2
    bare = (await search(mesh, line, limit=1, output_fields=["$id"])).hits[0]
    assert bare == pb.Hit(id="d9", score=9)
    foreign = search(mesh, line, output_fields=["even", "$vector"])
    assert await faults(foreign) == ["output_fields[1]"]


async def test_a_stored_document_finds_its_neighbours_but_not_itself(mesh: Mesh, line: str) -> None:
    response = await search(mesh, line, document_id="d9", limit=2)
    assert ids(response) == ["d8", "d7"]
    assert len((await search(mesh, line, document_id="d9")).hits) == 9
    error = await refused(search(mesh, line, document_id="missing"))
    assert isinstance(error, NotFound)
    assert error.kind == "document"


async def test_equal_scores_come_in_order_of_ids(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name)
    await mesh.upsert(
        name, *(Document(id=one, vector=floats(1, 0, 0, 0)) for one in ("b", "c", "a", "d"))
    )
    assert ids(await search(mesh, name)) == ["a", "b", "c", "d"]


async def test_text_is_encoded_by_the_collections_model(mesh: Mesh, texts: str) -> None:
    response = await search(mesh, texts, text="beta", explain=True)
    assert sorted(ids(response)) == ["alpha", "beta", "delta", "gamma"]
    assert response.metric == vector_pb2.METRIC_COSINE
    scores = [hit.score for hit in response.hits]
    assert scores == sorted(scores, reverse=True)
    assert all(-1.001 <= one <= 1.001 for one in scores)
    explain = response.explain
    assert (explain.model, explain.index) == ("tiny", "INDEX_TYPE_FLAT".removeprefix("INDEX_TYPE_"))
    assert explain.fingerprint
    assert explain.engine
    assert explain.encode_ms > 0
    assert explain.search_ms > 0
    parts = explain.encode_ms + explain.search_ms + explain.fuse_ms
    assert parts <= explain.total_ms
    assert explain.queue_ms <= explain.encode_ms


async def test_a_document_is_found_by_its_own_vector(mesh: Mesh, texts: str) -> None:
    request = documents_pb.GetDocumentRequest(collection=texts, id="gamma", include_vector=True)
    gamma = await mesh.documents.GetDocument(request)
    best = (await search(mesh, texts, vector=gamma.vector, limit=1)).hits[0]
    assert best.id == "gamma"
    assert best.score == pytest.approx(1, abs=1e-5)


async def test_binary_vectors_are_compared_bit_by_bit(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    space = vector_pb2.VectorSpace(
        dimension=16, kind=vector_pb2.VECTOR_KIND_BINARY, metric=vector_pb2.METRIC_JACCARD
    )
    await mesh.create(name, vector_space=space)
    bits = {"same": b"\xf0\x0f", "half": b"\xf0\x00", "other": b"\x0f\xf0"}
    await mesh.upsert(
        name,
        *(Document(id=one, vector=vector_pb2.Vector(packed_bits=v)) for one, v in bits.items()),
    )
    response = await search(mesh, name, vector=vector_pb2.Vector(packed_bits=b"\xf0\x0f"))
    assert ids(response) == ["same", "half", "other"]
    assert [hit.score for hit in response.hits] == pytest.approx([1, 0.5, 0])


async def test_a_write_is_found_at_once_and_a_deleted_document_never(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name)
    for number in range(20):
        vector = np.zeros(4)
        vector[number % 4] = 1 + number
        written = await mesh.upsert(name, Document(id="moving", vector=floats(*vector)))
        found = await search(
            mesh, name, vector=floats(*vector), limit=1, read_after=written.write_token
        )
        assert [(hit.id, hit.score) for hit in found.hits] == [("moving", (1 + number) ** 2)]
    request = documents_pb.DeleteDocumentsRequest(collection=name, ids=["moving"])
    token = (await mesh.documents.DeleteDocuments(request)).write_token
    assert ids(await search(mesh, name, read_after=token)) == []


async def test_an_empty_collection_has_no_hits(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name)
    assert ids(await search(mesh, name)) == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"vector": floats(1, 2)}, "vector"),
        ({"vector": floats(float("nan"), 0, 0, 0)}, "vector"),
        ({"vector": vector_pb2.Vector(float32_le=b"123")}, "vector.float32_le"),
        ({"vector": vector_pb2.Vector()}, "vector"),
        ({"limit": 0}, "limit"),
        ({"limit": 100_000}, "limit"),
        ({"offset": -1}, "offset"),
        ({"document_id": "a\x00"}, "document_id"),
        ({"read_after": "nonsense"}, "read_after"),
    ],
)
async def test_a_faulty_request_names_its_field(
    mesh: Mesh, line: str, request_: dict[str, Any], field: str
) -> None:
    assert await faults(search(mesh, line, **request_)) == [field]


async def test_a_query_is_required(mesh: Mesh, line: str) -> None:
    assert await faults(mesh.search.Search(pb.SearchRequest(collection=line))) == ["query"]


async def test_an_empty_text_names_its_field(mesh: Mesh, texts: str) -> None:
    assert await faults(search(mesh, texts, text=" ")) == ["text"]


async def test_a_query_that_the_collection_cannot_read(mesh: Mesh, line: str, texts: str) -> None:
    bits = f"c{uuid.uuid4().hex}"
    space = vector_pb2.VectorSpace(
        dimension=8, kind=vector_pb2.VECTOR_KIND_BINARY, metric=vector_pb2.METRIC_HAMMING
    )
    await mesh.create(bits, vector_space=space)
    for collection, query, reason in (
        (line, {"text": "x"}, "NO_MODEL"),
        (line, {"vector": vector_pb2.Vector(packed_bits=b"\x01")}, "VECTOR_KIND_MISMATCH"),
        (bits, {"vector": floats(*[1] * 8)}, "VECTOR_KIND_MISMATCH"),
        (texts, {"image": b"png"}, "MODALITY_MISMATCH"),
        (texts, {"smiles": "CCO"}, "MODALITY_MISMATCH"),
    ):
        error = await refused(search(mesh, collection, **query))
        assert isinstance(error, FailedPrecondition)
        assert error.reason == reason
        assert error.metadata["collection"] == collection


async def test_an_unknown_collection_is_not_found(mesh: Mesh) -> None:
    error = await refused(search(mesh, "missing"))
    assert isinstance(error, NotFound)
    assert (error.kind, error.name) == ("collection", "missing")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("highlight", pb.Highlight()),
        ("rerank", pb.Rerank(model="x")),
        ("substructure", "C"),
    ],
)
async def test_a_field_that_comes_later_says_so(
    mesh: Mesh, line: str, field: str, value: object
) -> None:
    error = await refused(search(mesh, line, **{field: value}))
    assert isinstance(error, Unsupported)
    assert error.message.startswith(field)


async def test_a_method_that_comes_later_says_so(mesh: Mesh, line: str) -> None:
    query = pb.Query(vector=floats(1, 0, 0, 0))
    request = pb.LocateRequest(collection=line, document_id="d1", references=[query])
    error = await refused(mesh.search.Locate(request))
    assert isinstance(error, Unsupported)
    assert error.message.startswith("Locate")

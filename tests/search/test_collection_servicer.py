from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from searchmesh.search.v1 import collection_service_pb2 as pb
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1 import segment_pb2, vector_pb2
from searchmesh_common.errors import (
    AlreadyExists,
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


@pytest.fixture
def name() -> str:
    return f"c{uuid.uuid4().hex}"


def create(mesh: Mesh, request_id: str = "", **definition: Any) -> Awaitable[pb.Collection]:
    request = pb.CreateCollectionRequest(
        collection=pb.Collection(**definition), request_id=request_id
    )
    call: Awaitable[pb.Collection] = mesh.collections.CreateCollection(request, timeout=30)
    return call


SPACE = vector_pb2.VectorSpace(dimension=8)
MIXED_SPACE = vector_pb2.VectorSpace(dimension=8, metric=vector_pb2.METRIC_JACCARD)


async def test_a_collection_is_answered_as_it_was_defined_with_its_defaults(
    mesh: Mesh, name: str
) -> None:
    before = datetime.now(UTC)
    fields = [pb.Field(name="year", type=pb.FIELD_TYPE_INT64)]
    made = await create(mesh, name=name, vector_space=SPACE, fields=fields)
    assert made.name == name
    assert list(made.fields) == fields
    space = vector_pb2.VectorSpace(
        dimension=8, metric=vector_pb2.METRIC_COSINE, kind=vector_pb2.VECTOR_KIND_FLOAT
    )
    assert (made.vector_space, made.resolved_space) == (space, space)
    assert made.index.type == pb.INDEX_TYPE_FLAT
    assert made.segmentation == segment_pb2.SEGMENTATION_WHOLE
    assert made.fingerprint == ""
    assert made.document_count == 0
    created = made.create_time.ToDatetime(UTC)
    assert abs(created - before).total_seconds() < 30
    assert await mesh.collections.GetCollection(pb.GetCollectionRequest(name=name)) == made


async def test_a_model_lends_its_space_and_fingerprint(mesh: Mesh, name: str) -> None:
    made = await create(mesh, name=name, model="tiny")
    assert made.WhichOneof("vectors") == "model"
    assert (made.model, made.resolved_space.dimension) == ("tiny", 16)
    assert made.fingerprint


async def test_what_was_answered_can_be_sent_again(mesh: Mesh, name: str) -> None:
    made = await create(
        mesh,
        name=name,
        model="tiny",
        index=pb.Index(type=pb.INDEX_TYPE_IVF_FLAT, nlist=4),
        segmentation=segment_pb2.SEGMENTATION_SEGMENTS,
    )
    made.name = f"{name}_2"
    again = await create(mesh, **{one.name: value for one, value in made.ListFields()})
    assert again.segmentation == segment_pb2.SEGMENTATION_SEGMENTS
    assert again.index == pb.Index(type=pb.INDEX_TYPE_IVF_FLAT, nlist=4, nprobe=16)


async def test_documents_are_counted(mesh: Mesh, name: str) -> None:
    await mesh.create(name)
    await mesh.upsert(name, Document(id="a", vector=floats(1, 0, 0, 0)))
    read = await mesh.collections.GetCollection(pb.GetCollectionRequest(name=name))
    assert read.document_count == 1
    assert read.update_time.ToDatetime() > read.create_time.ToDatetime()


async def test_a_repeated_request_answers_the_same(mesh: Mesh, name: str) -> None:
    made = await create(mesh, name, name=name, vector_space=SPACE)
    assert await create(mesh, name, name=name, vector_space=SPACE) == made
    assert isinstance(await refused(create(mesh, name=name, vector_space=SPACE)), AlreadyExists)
    other = await refused(create(mesh, name, name=name, model="tiny"))
    assert isinstance(other, AlreadyExists)
    assert (other.kind, other.name) == ("request", name)


async def test_a_deleted_collection_is_gone_and_its_name_free(mesh: Mesh, name: str) -> None:
    await mesh.create(name)
    request = pb.DeleteCollectionRequest(name=name, request_id=name)
    await mesh.collections.DeleteCollection(request)
    await mesh.collections.DeleteCollection(request)
    missing = await refused(mesh.collections.GetCollection(pb.GetCollectionRequest(name=name)))
    assert isinstance(missing, NotFound)
    assert (missing.kind, missing.name) == ("collection", name)
    await mesh.create(name)


async def test_pages(mesh: Mesh, name: str) -> None:
    names = [f"{name}_{number}" for number in range(5)]
    for one in names:
        await mesh.create(one)
    listed: list[str] = []
    token = ""
    while True:
        request = pb.ListCollectionsRequest(page_size=2, page_token=token)
        page = await mesh.collections.ListCollections(request)
        assert len(page.collections) <= 2
        listed += [one.name for one in page.collections]
        token = page.next_page_token
        if not token:
            break
    assert listed == sorted(listed)
    assert [one for one in listed if one.startswith(name)] == names
    foreign = pb.ListCollectionsRequest(page_token="nonsense")
    assert await faults(mesh.collections.ListCollections(foreign)) == ["page_token"]


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({"name": "Not a name", "vector_space": SPACE}, "collection.name"),
        ({"name": "no_vectors"}, "collection.vectors"),
        (
            {"name": "wide", "vector_space": vector_pb2.VectorSpace(dimension=40_000)},
            "collection.vector_space.dimension",
        ),
        (
            {"name": "mixed", "vector_space": MIXED_SPACE},
            "collection.vector_space.metric",
        ),
        (
            {"name": "tuned", "vector_space": SPACE, "index": pb.Index(nlist=3)},
            "collection.index.nlist",
        ),
        (
            {
                "name": "cut",
                "vector_space": SPACE,
                "segmentation": segment_pb2.SEGMENTATION_SEGMENTS,
            },
            "collection.segmentation",
        ),
    ],
)
async def test_a_faulty_definition_names_its_field(
    mesh: Mesh, definition: dict[str, Any], field: str
) -> None:
    assert await faults(create(mesh, **definition)) == [field]


async def test_what_comes_later_says_so(mesh: Mesh, name: str) -> None:
    collection = pb.Collection(name=name, vector_space=SPACE)
    rebuild = await refused(
        mesh.collections.RebuildCollection(pb.RebuildCollectionRequest(collection=collection))
    )
    rollback = await refused(
        mesh.collections.RollbackCollection(pb.RollbackCollectionRequest(name=name))
    )
    for error, word in (
        (rebuild, "RebuildCollection"),
        (rollback, "RollbackCollection"),
    ):
        assert isinstance(error, Unsupported)
        assert error.message.startswith(word)


async def test_an_unknown_model_and_a_missing_index_are_refused(mesh: Mesh, name: str) -> None:
    error = await refused(create(mesh, name=name, model="unknown-model"))
    assert isinstance(error, NotFound)
    assert error.name == "unknown-model"
    error = await refused(
        create(mesh, name=name, vector_space=SPACE, index=pb.Index(type=pb.INDEX_TYPE_HNSW))
    )
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "ENGINE_LACKS"

from __future__ import annotations

import asyncio
import math
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
import pytest_asyncio
from google.protobuf.struct_pb2 import Struct

from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh.search.v1.collection_service_pb2 import FIELD_TYPE_INT64, Field
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1.content_pb2 import Content
from searchmesh.type.v1.vector_pb2 import VECTOR_KIND_BINARY, Int8Scaled, Vector, VectorSpace
from searchmesh_common import status
from searchmesh_common.errors import AlreadyExists, NotFound

from .mesh import faults, faulty_fields, floats, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from typing import Any

    from .mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def things(mesh: Mesh) -> str:
    """The name of a new collection of vectors with four components."""
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name)
    return name


@pytest_asyncio.fixture(loop_scope="module")
async def texts(mesh: Mesh) -> str:
    """The name of a new collection of texts."""
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, model="tiny")
    return name


def get(mesh: Mesh, collection: str, document_id: str, **more: Any) -> Awaitable[Document]:
    request = pb.GetDocumentRequest(collection=collection, id=document_id, **more)
    call: Awaitable[Document] = mesh.documents.GetDocument(request)
    return call


def attributes(**values: Any) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


async def ids(mesh: Mesh, collection: str, page_size: int = 2) -> list[str]:
    listed: list[str] = []
    token = ""
    while True:
        request = pb.ListDocumentsRequest(
            collection=collection, page_size=page_size, page_token=token
        )
        page = await mesh.documents.ListDocuments(request)
        listed += [one.id for one in page.documents]
        token = page.next_page_token
        if not token:
            return listed


async def count(mesh: Mesh, collection: str, **more: Any) -> int:
    request = pb.CountDocumentsRequest(collection=collection, **more)
    return int((await mesh.documents.CountDocuments(request)).count)


async def test_a_document_comes_back_as_it_was_given(mesh: Mesh, texts: str) -> None:
    given = Document(
        id="Zürich 😀",
        content=Content(text="a text"),
        attributes=attributes(n=1.5, flag=True, nothing=None, words=["a", {"b": 2**53 - 1}]),
    )
    response = await mesh.upsert(texts, given)
    assert [(one.id, one.status.code) for one in response.results] == [(given.id, 0)]
    assert response.stored_count == 1
    assert response.write_token
    read = await get(mesh, texts, given.id)
    written = read.update_time.ToDatetime(UTC)
    assert abs(datetime.now(UTC) - written).total_seconds() < 30
    read.ClearField("update_time")
    assert read == given


async def test_what_is_output_only_is_not_taken_from_the_caller(mesh: Mesh, things: str) -> None:
    given = Document(id="a", vector=floats(1, 0, 0, 0))
    given.update_time.FromSeconds(1)
    await mesh.upsert(things, given)
    assert (await get(mesh, things, "a")).update_time.seconds > 1


async def test_vectors_are_answered_on_request_in_every_form_they_were_given_in(
    mesh: Mesh, things: str
) -> None:
    values = np.array([1, -2, 0.5, 0], np.float32)
    forms = {
        "float32": Vector(float32_le=values.astype("<f4").tobytes()),
        "float16": Vector(float16_le=values.astype("<f2").tobytes()),
        "int8": Vector(
            int8_scaled=Int8Scaled(values=np.array([2, -4, 1, 0], np.int8).tobytes(), scale=0.5)
        ),
        "floats": floats(*values),
    }
    await mesh.upsert(things, *(Document(id=name, vector=one) for name, one in forms.items()))
    for name in forms:
        assert not (await get(mesh, things, name)).HasField("vector")
        read = await get(mesh, things, name, include_vector=True)
        assert np.frombuffer(read.vector.float32_le, "<f4").tolist() == values.tolist()


async def test_binary_vectors(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, vector_space=VectorSpace(dimension=16, kind=VECTOR_KIND_BINARY))
    response = await mesh.upsert(
        name,
        Document(id="bits", vector=Vector(packed_bits=b"\x01\xff")),
        Document(id="long", vector=Vector(packed_bits=b"\x01\xff\x00")),
        Document(id="floats", vector=floats(*range(16))),
    )
    assert [one.status.code for one in response.results] == [0, 3, 3]
    read = await get(mesh, name, "bits", include_vector=True)
    assert read.vector == Vector(packed_bits=b"\x01\xff")


async def test_faulty_documents_fail_alone_and_say_what_to_change(mesh: Mesh, texts: str) -> None:
    response = await mesh.upsert(
        texts,
        Document(id="fine", content=Content(text="x")),
        Document(id="nothing"),
        Document(id="empty", content=Content(text="  ")),
        Document(id="image", content=Content(image=b"png")),
        Document(id="short", vector=floats(1, 2)),
        Document(id="nan", vector=floats(*[math.nan] * 16)),
        Document(id="odd", vector=Vector(float32_le=b"12345")),
        Document(id="formless", vector=Vector()),
        Document(id="integer", content=Content(text="x"), attributes=attributes(n=2**53 + 1)),
        Document(id="large", content=Content(text="x"), attributes=attributes(n="x" * 2**20)),
        Document(id="fine", content=Content(text="y")),
    )
    assert response.stored_count == 1
    assert [one.status.code for one in response.results] == [0] + [3] * 10
    errors = [status.from_proto(one.status) for one in response.results[1:]]
    assert [faulty_fields(one)[0] for one in errors] == [
        "documents[1].content",
        "documents[2].content.text",
        "documents[3].content",
        "documents[4].vector",
        "documents[5].vector",
        "documents[6].vector.float32_le",
        "documents[7].vector",
        "documents[8].attributes.n",
        "documents[9].attributes",
        "documents[10].id",
    ]
    assert "send it as a string" in errors[7].message
    assert await ids(mesh, texts) == ["fine"]
    assert (await get(mesh, texts, "fine")).content.text == "x"


async def test_more_documents_than_one_call_of_the_encoder_takes(mesh: Mesh, texts: str) -> None:
    documents = [Document(id=f"{n:03d}", content=Content(text=f"t{n}")) for n in range(300)]
    assert (await mesh.upsert(texts, *documents)).stored_count == 300
    assert await ids(mesh, texts, 100) == [one.id for one in documents]
    assert await count(mesh, texts) == 300


async def test_a_thousand_vectors_at_once(mesh: Mesh, things: str) -> None:
    documents = [Document(id=str(n), vector=floats(n, 1, 0, 0)) for n in range(1000)]
    token = (await mesh.upsert(things, *documents)).write_token
    assert await count(mesh, things, read_after=token) == 1000


async def test_replacing_counts_once(mesh: Mesh, things: str) -> None:
    for number in range(3):
        await mesh.upsert(things, Document(id="a", vector=floats(number, 0, 0, 0)))
    assert await count(mesh, things) == 1
    read = await get(mesh, things, "a", include_vector=True)
    assert np.frombuffer(read.vector.float32_le, "<f4")[0] == 2


async def test_deletions(mesh: Mesh, things: str) -> None:
    await mesh.upsert(things, *(Document(id=one, vector=floats(1, 0, 0, 0)) for one in "abc"))
    request = pb.DeleteDocumentsRequest(
        collection=things, ids=["a", "c", "missing", "a"], request_id="d-1"
    )
    for _ in range(2):
        response = await mesh.documents.DeleteDocuments(request)
        assert response.deleted_count == 2
        assert response.write_token
    assert await ids(mesh, things) == ["b"]
    assert await count(mesh, things, read_after=response.write_token) == 1
    missing = await refused(get(mesh, things, "a"))
    assert isinstance(missing, NotFound)
    assert (missing.kind, missing.name) == ("document", "a")
    request.ids.append("b")
    assert isinstance(await refused(mesh.documents.DeleteDocuments(request)), AlreadyExists)
    nothing = pb.DeleteDocumentsRequest(collection=things, ids=["missing"])
    assert await mesh.documents.DeleteDocuments(nothing) == pb.DeleteDocumentsResponse()


async def test_a_repeated_upsert_is_answered_as_the_first(mesh: Mesh, things: str) -> None:
    many = {f"key{number}": number for number in range(50)}
    request = pb.UpsertDocumentsRequest(
        collection=things,
        request_id="u-1",
        documents=[
            Document(id="a", vector=floats(1, 0, 0, 0), attributes=attributes(**many)),
            Document(id="b", vector=floats(1, 0)),
        ],
    )
    first = await mesh.documents.UpsertDocuments(request)
    assert [one.status.code for one in first.results] == [0, 3]
    deletion = pb.DeleteDocumentsRequest(collection=things, ids=["a"])
    await mesh.documents.DeleteDocuments(deletion)
    # what is output only is no part of what was asked for, and attributes have no order
    request.documents[0].update_time.GetCurrentTime()
    request.documents[0].attributes.Clear()
    request.documents[0].attributes.update(dict(reversed(many.items())))
    assert await mesh.documents.UpsertDocuments(request) == first
    assert await ids(mesh, things) == []
    request.documents[0].attributes.update({"key0": 1})
    assert isinstance(await refused(mesh.documents.UpsertDocuments(request)), AlreadyExists)


async def test_what_is_missing_is_not_found(mesh: Mesh) -> None:
    for call in (
        mesh.upsert("missing", Document(id="a", vector=floats(1))),
        get(mesh, "missing", "a"),
        mesh.documents.ListDocuments(pb.ListDocumentsRequest(collection="missing")),
        mesh.documents.DeleteDocuments(pb.DeleteDocumentsRequest(collection="missing", ids=["a"])),
        mesh.documents.CountDocuments(pb.CountDocumentsRequest(collection="missing")),
        first_of(mesh.documents.ExportDocuments(pb.ExportDocumentsRequest(collection="missing"))),
    ):
        error = await refused(call)
        assert isinstance(error, NotFound)
        assert error.message == "no collection 'missing'"


@pytest.mark.parametrize(
    ("documents", "field"),
    [
        ([], "documents"),
        ([Document(id=str(n)) for n in range(1001)], "documents"),
        ([Document(id="")], "documents[0].id"),
        ([Document(id="a\nb")], "documents[0].id"),
        ([Document(id="é" * 129)], "documents[0].id"),
    ],
)
async def test_a_faulty_request_names_its_field(
    mesh: Mesh, things: str, documents: list[Document], field: str
) -> None:
    assert await faults(mesh.upsert(things, *documents)) == [field]


async def test_foreign_tokens(mesh: Mesh, things: str, texts: str) -> None:
    await mesh.upsert(things, *(Document(id=one, vector=floats(1, 0, 0, 0)) for one in "abc"))
    first = pb.ListDocumentsRequest(collection=things, page_size=1)
    token = (await mesh.documents.ListDocuments(first)).next_page_token
    foreign = pb.ListDocumentsRequest(collection=texts, page_token=token)
    assert await faults(mesh.documents.ListDocuments(foreign)) == ["page_token"]
    assert await faults(count(mesh, things, read_after="nonsense")) == ["read_after"]
    listed = pb.ListDocumentsRequest(collection=things, read_after="nonsense")
    assert await faults(mesh.documents.ListDocuments(listed)) == ["read_after"]
    got = pb.GetDocumentRequest(collection=things, id="a", read_after="nonsense")
    assert await faults(mesh.documents.GetDocument(got)) == ["read_after"]
    export = pb.ExportDocumentsRequest(collection=things, read_after="nonsense", after_id="a")
    assert await faults(first_of(mesh.documents.ExportDocuments(export))) == ["read_after"]
    export = pb.ExportDocumentsRequest(collection=things, after_id="a\nb")
    assert await faults(first_of(mesh.documents.ExportDocuments(export))) == ["after_id"]


async def test_an_export_is_what_was_given_with_vectors_on_request(mesh: Mesh, texts: str) -> None:
    given = [
        Document(id="a", content=Content(text="a text"), attributes=attributes(n=1.5)),
        Document(id="b", content=Content(text="more"), vector=floats(*range(16))),
    ]
    token = (await mesh.upsert(texts, *given)).write_token
    request = pb.ExportDocumentsRequest(collection=texts, read_after=token)
    (part,) = [one async for one in mesh.documents.ExportDocuments(request)]
    vectors = [
        (await get(mesh, texts, one.id, include_vector=True)).vector for one in part.documents
    ]
    given[1].ClearField("vector")
    for one in part.documents:
        assert one.HasField("update_time")
        one.ClearField("update_time")
    assert list(part.documents) == given
    request.include_vectors = True
    request.after_id = "a"
    (part,) = [one async for one in mesh.documents.ExportDocuments(request)]
    assert [(one.id, one.vector) for one in part.documents] == [("b", vectors[1])]


async def test_an_export_waits_for_its_reader(mesh: Mesh, texts: str) -> None:
    long = Content(text="x" * (1 << 20))
    for n in range(80):
        await mesh.upsert(texts, Document(id=f"{n:02d}", content=long, vector=floats(*range(16))))
    before = exported_count(mesh)
    stream = aiter(mesh.documents.ExportDocuments(pb.ExportDocumentsRequest(collection=texts)))
    assert len((await anext(stream)).documents) == 1
    sent = -1.0
    while sent != exported_count(mesh):
        sent = exported_count(mesh)
        await asyncio.sleep(0.5)
    assert sent - before < 40
    assert len([one async for one in stream]) == 79
    assert exported_count(mesh) - before == 80


def exported_count(mesh: Mesh) -> float:
    return mesh.server._registry.get_sample_value("search_documents_exported_total") or 0.0


async def first_of(stream: AsyncIterator[object]) -> object:
    async for message in stream:
        return message
    return grpc.aio.EOF


async def test_declared_attributes_are_checked(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, fields=[Field(name="year", type=FIELD_TYPE_INT64)])
    response = await mesh.upsert(
        name,
        Document(id="a", vector=floats(1, 0, 0, 0), attributes=attributes(year=1999)),
        Document(id="b", vector=floats(1, 0, 0, 0), attributes=attributes(year="1999")),
        Document(id="c", vector=floats(1, 0, 0, 0)),
    )
    assert [one.status.code for one in response.results] == [0, 3, 0]
    assert "int64" in response.results[1].status.message

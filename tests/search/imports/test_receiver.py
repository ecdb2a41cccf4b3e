"""What streams bring, and what they are refused: over gRPC, with the real engine."""

from __future__ import annotations

import asyncio
import random
import struct
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh.search.v1.document_pb2 import Document
from searchmesh_common.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
)
from tests.search.mesh import faults, floats, refused

from .streams import (
    Stream,
    bring,
    cancel,
    ended,
    first_message,
    ids,
    messages,
    metadata,
    numbered,
    send,
    until,
)

if TYPE_CHECKING:
    from tests.search.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def things(mesh: Mesh, request: pytest.FixtureRequest) -> str:
    """A collection of the test's own."""
    name = f"c{abs(hash(request.node.name))}"
    await mesh.create(name)
    return name


async def test_what_was_received_is_stored_and_found(mesh: Mesh, things: str) -> None:
    operation = await bring(mesh, things, numbered(2500))
    assert metadata(operation).received_count == 2500
    done = await ended(mesh, operation.name)
    assert done.state == pb.IMPORT_STATE_SUCCEEDED
    assert (done.collection, done.request_id) == (things, "")
    counts = (done.encoded_count, done.stored_count, done.searchable_count, done.failed_count)
    assert counts == (2500, 2500, 2500, 0)
    found = await mesh.find(things, vector=floats(1, 0, 0, 0), limit=2, read_after=done.write_token)
    assert [hit.id for hit in found.hits] == ["2499", "2498"]
    assert len(await ids(mesh, things)) == 2500


async def test_an_import_of_nothing_succeeds(mesh: Mesh, things: str) -> None:
    operation = await bring(mesh, things, [])
    assert (await ended(mesh, operation.name)).state == pb.IMPORT_STATE_SUCCEEDED


async def test_of_equal_ids_the_later_document_wins(mesh: Mesh, things: str) -> None:
    documents = [Document(id=str(n % 700), vector=floats(n, 1, 0, 0)) for n in range(2100)]
    # some within a batch, some in batches of their own
    done = await ended(mesh, (await bring(mesh, things, documents, each=300)).name)
    assert (done.received_count, done.stored_count) == (2100, 2100)
    assert len(await ids(mesh, things)) == 700
    found = await mesh.find(things, vector=floats(1, 0, 0, 0), limit=700)
    assert [(hit.id, hit.score) for hit in found.hits] == [
        (str(n), float(n + 1400)) for n in reversed(range(700))
    ]


async def test_a_cut_stream_goes_on_where_it_was_cut(mesh: Mesh, things: str) -> None:
    documents = numbered(900)
    async with Stream(mesh, messages(things, documents[:400], things, each=100)) as stream:
        await until(mesh, stream.name, received=400)
    operation = await bring(mesh, things, documents, things, resume_from=400)
    assert operation.name == f"operations/{things}"
    done = await ended(mesh, operation.name)
    assert (done.request_id, done.received_count, done.stored_count) == (things, 900, 900)
    assert len(await ids(mesh, things)) == 900


async def test_what_was_received_before_is_not_stored_again(mesh: Mesh, things: str) -> None:
    documents = numbered(1500)
    async with Stream(mesh, messages(things, documents[:1000], things, each=7)) as stream:
        await until(mesh, stream.name, received=500)
    operation = await bring(mesh, things, documents, things, each=11)
    assert (await ended(mesh, operation.name)).stored_count == 1500
    for resume_from in (0, 700, 1500):
        repeated = await bring(mesh, things, documents, things, resume_from)
        assert repeated.done
        assert metadata(repeated).received_count == 1500
    assert len(await ids(mesh, things)) == 1500


async def test_streams_cut_anywhere_bring_every_document_once(mesh: Mesh, things: str) -> None:
    choose = random.Random(4)
    for trial in range(12):
        request_id = f"{things}.{trial}"
        documents = numbered(600, start=600 * trial)
        received = 0
        for _ in range(choose.randrange(4)):
            resume_from = choose.choice([0, received, choose.randint(0, received)])
            brought = documents[: choose.randint(resume_from, 600)]
            each = choose.randint(1, 100)
            stream = messages(things, brought, request_id, resume_from, each=each)
            async with Stream(mesh, stream) as cut:
                # whatever is on its way when the stream is cut may arrive or not
                await asyncio.sleep(choose.random() * 0.05)
                received = (await until(mesh, cut.name)).received_count
        operation = await bring(mesh, things, documents, request_id, choose.choice([0, received]))
        done = await ended(mesh, operation.name)
        assert (done.received_count, done.stored_count) == (600, 600)
    assert sorted(map(int, await ids(mesh, things))) == list(range(600 * 12))


async def test_other_documents_under_the_same_request_id_are_refused(
    mesh: Mesh, things: str
) -> None:
    documents = numbered(30)
    other = Document(id="other", vector=floats(1, 0, 0, 0))
    operation = await bring(mesh, things, documents, things)
    await ended(mesh, operation.name)
    for position, changed in (
        (17, [*documents[:17], other, *documents[18:]]),
        (29, documents[:29]),
        (30, [*documents, other]),
        (0, []),
    ):
        error = await refused(bring(mesh, things, changed, things, each=10))
        assert isinstance(error, AlreadyExists)
        assert f"at position {position} is" in error.message
    assert len(await ids(mesh, things)) == 30


async def test_a_request_id_belongs_to_one_collection(mesh: Mesh, things: str) -> None:
    await bring(mesh, things, numbered(1), things)
    await mesh.create(f"{things}_b")
    error = await refused(bring(mesh, f"{things}_b", numbered(1), things))
    assert isinstance(error, AlreadyExists)
    assert "another collection" in error.message


async def test_a_stream_that_another_takes_over_is_aborted(mesh: Mesh, things: str) -> None:
    documents = numbered(20)
    async with Stream(mesh, messages(things, documents[:10], things)) as older:
        await until(mesh, older.name, received=10)
        operation = await bring(mesh, things, documents, things)
        older.more(pb.ImportDocumentsRequest(documents=documents[10:15]))
        assert isinstance(await refused(older.call), Aborted)
    assert (await ended(mesh, operation.name)).stored_count == 20


async def test_the_same_ids_by_two_imports_at_once(mesh: Mesh, things: str) -> None:
    one, two = await asyncio.gather(
        bring(mesh, things, [Document(id=str(n), vector=floats(1, n, 0, 0)) for n in range(500)]),
        bring(mesh, things, [Document(id=str(n), vector=floats(2, n, 0, 0)) for n in range(500)]),
    )
    for operation in (one, two):
        done = await ended(mesh, operation.name)
        assert (done.state, done.stored_count) == (pb.IMPORT_STATE_SUCCEEDED, 500)
    assert len(await ids(mesh, things)) == 500
    found = await mesh.find(things, vector=floats(1, 0, 0, 0), limit=600)
    assert len(found.hits) == 500
    assert {hit.score for hit in found.hits} <= {1.0, 2.0}


async def test_a_faulty_config_is_refused(mesh: Mesh, things: str) -> None:
    both = first_message(things)
    both.documents.add(id="a")
    for stream, field in (
        ([], "config"),
        ([pb.ImportDocumentsRequest()], "config"),
        ([pb.ImportDocumentsRequest(documents=numbered(1))], "config"),
        ([both], "documents"),
        ([first_message("No name")], "config.collection"),
        ([first_message(things, "no id")], "config.request_id"),
        ([first_message(things, "", 1)], "config.resume_from"),
        ([first_message(things, things, -1)], "config.resume_from"),
    ):
        assert await faults(send(mesh, stream)) == [field]
    error = await refused(bring(mesh, "nowhere", []))
    assert isinstance(error, NotFound)
    assert (error.kind, error.name) == ("collection", "nowhere")


async def test_more_cannot_be_skipped_than_was_received(mesh: Mesh, things: str) -> None:
    async with Stream(mesh, messages(things, numbered(10), things)) as stream:
        await until(mesh, stream.name, received=10)
    error = await refused(bring(mesh, things, numbered(20), things, resume_from=11))
    assert isinstance(error, InvalidRequest)
    assert "10 documents of this import were received" in error.violations[0].description


async def test_a_stream_cut_in_the_middle_of_a_message_keeps_those_before(
    mesh: Mesh, things: str
) -> None:
    documents = numbered(30)
    brought = list(messages(things, documents[:20], things, each=10))
    _, writer = await asyncio.open_connection("127.0.0.1", mesh.server.ports.grpc)
    writer.write(http2_request("/searchmesh.search.v1.DocumentService/ImportDocuments"))
    sent = b"".join(grpc_frame(one.SerializeToString()) for one in brought)
    writer.write(http2_frame(0, sent[:-5]))
    await until(mesh, f"operations/{things}", received=10)
    writer.close()
    operation = await bring(mesh, things, documents, things)
    done = await ended(mesh, operation.name)
    assert (done.received_count, done.stored_count) == (30, 30)


def http2_request(path: str) -> bytes:
    """What opens a call, up to its messages."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    literals = b"".join(
        b"\0" + b"".join(bytes([len(one)]) + one.encode() for one in header)
        for header in headers.items()
    )
    settings = http2_frame(4, b"", stream=0)
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + http2_frame(1, literals, flags=4)


def http2_frame(kind: int, payload: bytes, *, flags: int = 0, stream: int = 1) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + (struct.pack(">I", stream) + payload)
    )


def grpc_frame(message: bytes) -> bytes:
    return struct.pack(">?I", False, len(message)) + message


@pytest.mark.parametrize(
    ("faulty", "field"),
    [
        (first_message("things"), "config"),
        (pb.ImportDocumentsRequest(), "documents"),
        (pb.ImportDocumentsRequest(documents=numbered(1001)), "documents"),
    ],
)
async def test_a_faulty_message_ends_the_stream_and_not_the_import(
    mesh: Mesh, things: str, faulty: pb.ImportDocumentsRequest, field: str
) -> None:
    documents = numbered(20)
    stream = [*messages(things, documents[:10], things), faulty]
    assert await faults(send(mesh, stream)) == [field]
    assert (await until(mesh, f"operations/{things}", received=10)).received_count == 10
    operation = await bring(mesh, things, documents, things, resume_from=10)
    assert (await ended(mesh, operation.name)).stored_count == 20


async def test_an_open_stream_is_told_that_its_import_is_cancelled(mesh: Mesh, things: str) -> None:
    async with Stream(mesh, messages(things, numbered(10), things)) as idle:
        await until(mesh, idle.name, received=10)
        await cancel(mesh, idle.name)
        error = await refused(idle.call)
    assert isinstance(error, FailedPrecondition)
    assert "cancelled after 10 documents" in error.message


async def test_an_open_stream_is_told_that_another_has_taken_over(mesh: Mesh, things: str) -> None:
    documents = numbered(10)
    async with Stream(mesh, messages(things, documents, things)) as idle:
        await until(mesh, idle.name, received=10)
        await bring(mesh, things, documents, things)
        assert isinstance(await refused(idle.call), Aborted)


async def test_a_cancelled_import_takes_nothing_more(mesh: Mesh, things: str) -> None:
    async with Stream(mesh, messages(things, numbered(10), things)) as stream:
        await until(mesh, stream.name, received=10)
        await cancel(mesh, stream.name)
        stream.more(pb.ImportDocumentsRequest(documents=numbered(10, start=10)))
        error = await refused(stream.call)
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "IMPORT_ENDED"
    error = await refused(bring(mesh, things, numbered(20), things))
    assert isinstance(error, FailedPrecondition)

"""Imports whose encoder or engine is away, and services that end in the middle of one."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest
from google.rpc import code_pb2

from searchmesh.search.v1 import collection_service_pb2 as collections_pb
from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1.content_pb2 import Content
from searchmesh_common.errors import FailedPrecondition, Unavailable
from tests.search.mesh import (
    NOBODY,
    SECONDS,
    address_of,
    floats,
    refused,
    running_encoder,
    running_search,
)

from .streams import Stream, bring, cancel, ended, got, ids, messages, metadata, numbered, until

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.search.mesh import Mesh


def texts(count: int, start: int = 0) -> list[Document]:
    """Documents whose vectors the encoder makes: as long as their numbers."""
    return [
        Document(id=str(n), content=Content(text="x" * (n % 5 + 1)))
        for n in range(start, start + count)
    ]


async def delete(mesh: Mesh, *document_ids: str) -> int:
    request = pb.DeleteDocumentsRequest(collection="things", ids=document_ids)
    response = await mesh.documents.DeleteDocuments(request, timeout=SECONDS)
    return int(response.deleted_count)


@pytest.fixture
async def away(tmp_path: Path) -> str:
    """The address of an encoder that was there when the collection `things` was made in the folder
    `search`, and that is away now.
    """
    async with running_encoder(tmp_path / "encoder") as encoder:
        address = address_of(encoder)
        async with running_search(tmp_path / "search", address) as mesh:
            fields = [collections_pb.Field(name="n", type=collections_pb.FIELD_TYPE_INT64)]
            await mesh.create("things", model="tiny", fields=fields)
    return address


def search_of(tmp_path: Path, encoder: str) -> AbstractAsyncContextManager[Mesh]:
    return running_search(tmp_path / "search", encoder)


async def test_an_import_waits_for_the_encoder_and_says_so(tmp_path: Path, away: str) -> None:
    async with search_of(tmp_path, away) as mesh:
        name = (await bring(mesh, "things", texts(600))).name
        shown = await until(mesh, name, waiting=True)
        assert shown.state == pb.IMPORT_STATE_RUNNING
        assert (shown.received_count, shown.encoded_count) == (600, 0)
        assert shown.waiting_for.code == code_pb2.UNAVAILABLE
        # what needs no encoder is not held up
        assert (await ended(mesh, (await bring(mesh, "things", numbered_16(3))).name)).stored_count
        async with running_encoder(tmp_path / "encoder", listen=away):
            done = await ended(mesh, name)
        assert (done.state, done.stored_count) == (pb.IMPORT_STATE_SUCCEEDED, 600)
        assert not done.HasField("waiting_for")
        assert len(await ids(mesh, "things")) == 603


def numbered_16(count: int) -> list[Document]:
    """Documents that bring their vectors, of the tiny model's space."""
    return [Document(id=f"v{n}", vector=floats(1, *[n] * 15)) for n in range(count)]


async def test_what_is_received_later_wins_over_a_batch_that_waits(
    tmp_path: Path, away: str
) -> None:
    async with search_of(tmp_path, away) as mesh:
        name = (await bring(mesh, "things", texts(10))).name
        await until(mesh, name, waiting=True)
        newer = Document(id="0", vector=floats(1, *[0] * 15), content=Content(text="newer"))
        await mesh.upsert("things", newer)
        assert await delete(mesh, "1", "nobody") == 0
        await mesh.upsert("things", Document(id="2", vector=floats(1, *[0] * 15)))
        assert await delete(mesh, "2") == 1
        marked = Document(id="4", vector=floats(1, *[0] * 15))
        marked.attributes["n"] = 4
        await mesh.upsert("things", marked)
        by_filter = pb.DeleteDocumentsRequest(collection="things", filter="n = 4")
        answer = await mesh.documents.DeleteDocuments(by_filter, timeout=SECONDS)
        assert answer.deleted_count == 1
        await delete(mesh, "3")
        later = (await bring(mesh, "things", texts(1, start=3))).name
        async with running_encoder(tmp_path / "encoder", listen=away):
            done = await ended(mesh, name)
            await ended(mesh, later)
        assert (done.state, done.stored_count) == (pb.IMPORT_STATE_SUCCEEDED, 10)
        assert await ids(mesh, "things") == ["0", "3", *(str(n) for n in range(5, 10))]
        request = pb.GetDocumentRequest(collection="things", id="0")
        read = await mesh.documents.GetDocument(request, timeout=SECONDS)
        assert read.content.text == "newer"


async def test_a_restart_in_the_middle_changes_nothing(tmp_path: Path, away: str) -> None:
    documents = texts(40)
    async with search_of(tmp_path, away) as mesh:
        await bring(mesh, "things", documents[:20], "whole")
        async with Stream(mesh, messages("things", documents[:20], "cut")) as stream:
            await until(mesh, stream.name, received=20)
    async with (
        running_encoder(tmp_path / "encoder", listen=away),
        search_of(tmp_path, away) as mesh,
    ):
        assert (await ended(mesh, "operations/whole")).stored_count == 20
        assert (await until(mesh, "operations/cut", received=20)).state == (
            pb.IMPORT_STATE_RECEIVING
        )
        operation = await bring(mesh, "things", documents, "cut", resume_from=20)
        assert (await ended(mesh, operation.name)).stored_count == 40
        assert len(await ids(mesh, "things")) == 40


async def test_a_cancelled_import_keeps_what_is_stored_and_says_so(
    tmp_path: Path, away: str
) -> None:
    async with search_of(tmp_path, away) as mesh:
        stored = numbered_16(10)
        async with Stream(mesh, messages("things", stored, "some")) as stream:
            await until(mesh, stream.name, stored=10)
            stream.more(pb.ImportDocumentsRequest(documents=texts(20)))
            await until(mesh, stream.name, received=30, waiting=True)
            await cancel(mesh, stream.name)
            stream.more(pb.ImportDocumentsRequest(documents=texts(1)))
            error = await refused(stream.call)
        assert isinstance(error, FailedPrecondition)
        operation = await got(mesh, "operations/some")
        assert operation.done
        assert operation.error.code == code_pb2.CANCELLED
        assert "10 documents" in operation.error.message
        assert metadata(operation).state == pb.IMPORT_STATE_CANCELLED
        await cancel(mesh, operation.name)
        async with running_encoder(tmp_path / "encoder", listen=away):
            # the next import would not end before one that still held it up
            await ended(mesh, (await bring(mesh, "things", texts(1, start=90))).name)
        assert await ids(mesh, "things") == ["90", *sorted(one.id for one in stored)]


async def test_a_stream_that_is_open_at_a_drain_goes_on_elsewhere(tmp_path: Path) -> None:
    documents = numbered(30)
    async with running_search(tmp_path, NOBODY) as mesh:
        await mesh.create("things")
        async with Stream(mesh, messages("things", documents[:10], "cut")) as stream:
            await until(mesh, stream.name, received=10)
            await mesh.server.__aexit__(None, None, None)
            error = await refused(stream.call)
    assert isinstance(error, Unavailable)
    async with running_search(tmp_path, NOBODY) as mesh:
        operation = await bring(mesh, "things", documents, "cut", resume_from=10)
        assert (await ended(mesh, operation.name)).stored_count == 30


@pytest.mark.slow
async def test_an_import_waits_for_the_engine(tmp_path: Path) -> None:
    async with running_search(tmp_path, NOBODY) as mesh:
        await mesh.create("things")
        engines = [
            one
            for one in psutil.Process().children(recursive=True)
            if str(tmp_path) in " ".join(one.cmdline())
        ]
        assert engines
        async with Stream(mesh, messages("things", numbered(20_000), "many", each=500)) as stream:
            await until(mesh, stream.name, received=500)
            for engine in engines:
                os.kill(engine.pid, signal.SIGKILL)
            await until(mesh, stream.name, received=20_000)
        operation = await bring(mesh, "things", numbered(20_000), "many", resume_from=20_000)
        done = await ended(mesh, operation.name)
        assert (done.stored_count, done.failed_count) == (20_000, 0)
        found = await mesh.find("things", vector=floats(1, 0, 0, 0), limit=1)
        assert found.hits[0].id == "19999"


async def test_another_model_fails_the_import_and_names_itself(tmp_path: Path, away: str) -> None:
    async with search_of(tmp_path, away) as mesh:
        name = (await bring(mesh, "things", texts(10))).name
        async with running_encoder(tmp_path / "other", window=8, listen=away):
            done = await ended(mesh, name)
        assert done.state == pb.IMPORT_STATE_FAILED
        assert "FINGERPRINT_MISMATCH" in str(done.error)
        assert (await got(mesh, name)).error == done.error


async def test_an_import_into_a_deleted_collection_fails(tmp_path: Path, away: str) -> None:
    async with search_of(tmp_path, away) as mesh:
        async with Stream(mesh, messages("things", texts(10), "gone")) as stream:
            await until(mesh, stream.name, received=10)
            await mesh.delete("things")
            done = await ended(mesh, stream.name)
            stream.more(pb.ImportDocumentsRequest(documents=texts(1)))
            error = await refused(stream.call)
        assert done.state == pb.IMPORT_STATE_FAILED
        assert done.error.code == code_pb2.NOT_FOUND
        assert isinstance(error, FailedPrecondition)
        listed = await mesh.collections.ListCollections(
            collections_pb.ListCollectionsRequest(), timeout=SECONDS
        )
        assert not listed.collections

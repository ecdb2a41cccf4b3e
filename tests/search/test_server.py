"""What callers see when parts of the service are away, and after a restart."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import grpc
import psutil
import pytest

from searchmesh.search.v1 import (
    collection_service_pb2,
    document_service_pb2,
)
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1.content_pb2 import Content
from searchmesh_common.errors import DeadlineExceeded, FailedPrecondition, Unavailable
from searchmesh_common.ports import StartError

from .mesh import NOBODY, address_of, floats, refused, running_encoder, running_search

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from .mesh import Mesh
    from .milvus_server import MilvusServer

SERVICES = [
    f"searchmesh.search.v1.{name}"
    for name in ("CollectionService", "DocumentService", "SearchService")
]


async def ids(mesh: Mesh, **query: Any) -> list[str]:
    return [hit.id for hit in (await mesh.find("things", **query)).hits]


async def count(mesh: Mesh) -> int:
    request = document_service_pb2.CountDocumentsRequest(collection="things")
    return int((await mesh.documents.CountDocuments(request, timeout=10)).count)


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with running_search(tmp_path, NOBODY) as mesh:
        made = await mesh.create("things")
        documents = [Document(id=str(n), vector=floats(n, 1, 0, 0)) for n in range(10)]
        await mesh.upsert("things", *documents)
        await mesh.upsert("things", Document(id="9", vector=floats(-1, 0, 0, 0)))
    async with running_search(tmp_path, NOBODY) as mesh:
        await mesh.until_serving(SERVICES[2])
        request = collection_service_pb2.GetCollectionRequest(name="things")
        kept = await mesh.collections.GetCollection(request, timeout=10)
        assert (kept.create_time, kept.document_count) == (made.create_time, 10)
        assert await ids(mesh, vector=floats(1, 0, 0, 0), limit=2) == ["8", "7"]
        await mesh.upsert("things", Document(id="9", vector=floats(99, 0, 0, 0)))
        assert await ids(mesh, vector=floats(1, 0, 0, 0), limit=1) == ["9"]
        assert await count(mesh) == 10


async def test_without_the_encoder_vectors_and_ids_still_find_and_texts_are_unavailable(
    tmp_path: Path,
) -> None:
    async with running_search(tmp_path / "search", NOBODY) as mesh:
        for name in ("", *SERVICES):
            await mesh.until_serving(name)
        await mesh.create("things")
        await mesh.upsert("things", Document(id="a", vector=floats(1, 0, 0, 0)))
        assert await ids(mesh, vector=floats(1, 0, 0, 0)) == ["a"]
        assert await ids(mesh, document_id="a") == []
        started = time.monotonic()
        request = collection_service_pb2.CreateCollectionRequest(
            collection=collection_service_pb2.Collection(name="texts", model="tiny")
        )
        error = await refused(mesh.collections.CreateCollection(request, timeout=2))
        assert isinstance(error, Unavailable | DeadlineExceeded)
        assert time.monotonic() - started < 4


async def test_an_encoder_that_comes_back_is_used_again(tmp_path: Path) -> None:
    async with running_encoder(tmp_path / "encoder") as encoder:
        address = address_of(encoder)
        async with running_search(tmp_path / "search", address) as mesh:
            await mesh.create("things", model="tiny")
            await mesh.upsert("things", Document(id="a", content=Content(text="alpha")))
            await encoder.__aexit__(None, None, None)
            error = await refused(mesh.find("things", timeout=2, text="alpha"))
            assert isinstance(error, Unavailable | DeadlineExceeded)
            assert await ids(mesh, document_id="a") == []
            async with running_encoder(tmp_path / "encoder", listen=address):
                assert await healed(lambda: ids(mesh, text="alpha")) == ["a"]


async def healed(call: Callable[[], Awaitable[list[str]]], within_seconds: float = 60) -> list[str]:
    """The answer of a call once what it needs is back; until then it must be UNAVAILABLE."""
    async with asyncio.timeout(within_seconds):
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.05)


async def test_a_model_with_another_fingerprint_is_refused(tmp_path: Path) -> None:
    async with running_encoder(tmp_path / "one") as encoder:
        address = address_of(encoder)
        async with running_search(tmp_path / "search", address) as mesh:
            await mesh.create("things", model="tiny")
            await mesh.upsert("things", Document(id="a", content=Content(text="alpha")))
    async with (
        running_encoder(tmp_path / "two", window=8) as encoder,
        running_search(tmp_path / "search", address_of(encoder)) as mesh,
    ):
        await mesh.until_serving(SERVICES[2])
        text = await refused(mesh.find("things", text="alpha"))
        upsert = await refused(mesh.upsert("things", Document(id="b", content=Content(text="b"))))
        for error in (text, upsert):
            assert isinstance(error, FailedPrecondition)
            assert error.reason == "FINGERPRINT_MISMATCH"
        assert await count(mesh) == 1


async def test_a_locked_journal_is_unavailable_and_heals(tmp_path: Path) -> None:
    async with running_search(tmp_path, NOBODY) as mesh:
        await mesh.create("things")
        other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        error = await refused(mesh.upsert("things", Document(id="a", vector=floats(1, 0, 0, 0))))
        assert isinstance(error, Unavailable)
        assert "locked" in error.message
        await mesh.until_serving(SERVICES[1], wanted=False)
        other.execute("ROLLBACK")
        other.close()
        await mesh.until_serving(SERVICES[1])
        await mesh.upsert("things", Document(id="a", vector=floats(1, 0, 0, 0)))
        assert await count(mesh) == 1


async def test_an_engine_that_is_killed_is_unavailable_and_heals(tmp_path: Path) -> None:
    async with running_search(tmp_path, NOBODY) as mesh:
        await mesh.create("things")
        await mesh.upsert("things", Document(id="a", vector=floats(1, 0, 0, 0)))
        (engine,) = engines()
        engine.kill()
        assert await healed(lambda: ids(mesh, vector=floats(1, 0, 0, 0))) == ["a"]
        await mesh.until_serving(SERVICES[2])
        assert (
            await mesh.upsert("things", Document(id="b", vector=floats(2, 0, 0, 0)))
        ).write_token
        assert await ids(mesh, vector=floats(1, 0, 0, 0)) == ["b", "a"]


async def test_an_engine_that_stands_still_is_told_within_the_deadline_and_heals(
    tmp_path: Path,
) -> None:
    async with running_search(tmp_path, NOBODY) as mesh:
        await mesh.create("things")
        await mesh.upsert("things", Document(id="a", vector=floats(1, 0, 0, 0)))
        (engine,) = engines()
        engine.suspend()
        try:
            started = time.monotonic()
            error = await refused(mesh.find("things", timeout=1, vector=floats(1, 0, 0, 0)))
            assert isinstance(error, Unavailable | DeadlineExceeded)
            assert time.monotonic() - started < 3
            assert await count(mesh) == 1
            await mesh.until_serving(SERVICES[2], wanted=False)
        finally:
            engine.resume()
        await mesh.until_serving(SERVICES[2])
        assert await healed(lambda: ids(mesh, vector=floats(1, 0, 0, 0))) == ["a"]


@pytest.mark.server
async def test_a_milvus_server_that_stands_still_is_told_in_time_and_all_heals(
    tmp_path: Path, milvus_server: MilvusServer
) -> None:
    async with running_search(tmp_path, NOBODY, engine=milvus_server.uri) as mesh:
        await mesh.create("things")
        await mesh.upsert("things", Document(id="a", vector=floats(1, 0, 0, 0)))
        late = document_service_pb2.UpsertDocumentsRequest(
            collection="things", documents=[Document(id="late", vector=floats(3, 0, 0, 0))]
        )
        with milvus_server.standing_still():
            started = time.monotonic()
            for call in (
                mesh.find("things", timeout=1, vector=floats(1, 0, 0, 0)),
                mesh.documents.UpsertDocuments(late, timeout=1),
            ):
                assert isinstance(await refused(call), Unavailable | DeadlineExceeded)
            assert time.monotonic() - started < 10
            for service in SERVICES[1:]:
                await mesh.until_serving(service, wanted=False)
            assert time.monotonic() - started < 20
            # what needs no engine is answered all the while
            assert await count(mesh) == 1
        for service in SERVICES[1:]:
            await mesh.until_serving(service)
        token = (await mesh.documents.UpsertDocuments(late, timeout=30)).write_token
        assert await ids(mesh, vector=floats(1, 0, 0, 0), read_after=token) == ["late", "a"]
        await mesh.create("others")
        await mesh.delete("others")
        await mesh.delete("things")


def engines() -> list[psutil.Process]:
    """Processes of embedded engines that this one has started."""
    return [one for one in psutil.Process().children() if "milvus" in one.name()]


async def test_an_export_that_a_drain_cuts_goes_on_at_another_server(tmp_path: Path) -> None:
    exported: list[str] = []
    async with running_search(tmp_path, NOBODY, stream_grace_seconds=30) as mesh:
        await mesh.create("things")
        for n in range(40):
            long = Content(text="x" * (1 << 20))
            await mesh.upsert(
                "things", Document(id=f"{n:02d}", vector=floats(n, 0, 0, 0), content=long)
            )
        stream = aiter(mesh.documents.ExportDocuments(export_after("")))
        exported += [one.id for one in (await anext(stream)).documents]
        draining = asyncio.create_task(mesh.server.__aexit__(None, None, None))
        error = await refused(remaining(stream, exported))
        assert isinstance(error, Unavailable)
        assert "after_id" in error.message
        await draining
    assert 0 < len(exported) < 40
    async with running_search(tmp_path, NOBODY) as mesh:
        await remaining(mesh.documents.ExportDocuments(export_after(exported[-1])), exported)
    assert exported == [f"{n:02d}" for n in range(40)]


def export_after(after_id: str) -> document_service_pb2.ExportDocumentsRequest:
    return document_service_pb2.ExportDocumentsRequest(collection="things", after_id=after_id)


async def remaining(stream: AsyncIterator[Any], exported: list[str]) -> None:
    async for part in stream:
        exported += [one.id for one in part.documents]


async def metrics_of(mesh: Mesh) -> str:
    url = f"http://127.0.0.1:{mesh.server.ports.metrics}/metrics"
    with await asyncio.to_thread(urllib.request.urlopen, url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


async def test_contents_that_are_not_used_any_more_go_and_metrics_tell(tmp_path: Path) -> None:
    async with running_search(tmp_path, NOBODY) as mesh:
        await mesh.create("things")
        for n in range(2):
            await mesh.upsert("things", Document(id="a", vector=floats(n + 1, 0, 0, 0)))
    async with running_search(tmp_path, NOBODY, collect_interval_seconds=0.1) as mesh:
        await mesh.until_serving(SERVICES[1])
        # what was replaced is gone; the first bytes of a file belong to no document
        await until_told(mesh, 'search_contents_bytes{state="dead"} 8.0')
        await until_told(mesh, "search_contents_packs 1.0")
        await mesh.delete("things")
        await until_told(mesh, 'search_contents_bytes{state="live"} 0.0')


async def until_told(mesh: Mesh, line: str) -> None:
    async with asyncio.timeout(30):
        while True:
            if line in await metrics_of(mesh):
                return
            await asyncio.sleep(0.1)


async def test_metrics_are_served(tmp_path: Path) -> None:
    async with running_search(tmp_path, NOBODY) as mesh:
        await mesh.create("things")
        await mesh.upsert("things", Document(id="a", vector=floats(1, 0, 0, 0)), Document(id="b"))
        await ids(mesh, vector=floats(1, 0, 0, 0))
        text = await metrics_of(mesh)
    for line in (
        'search_documents_written_total{outcome="stored"} 1.0',
        'search_documents_written_total{outcome="refused"} 1.0',
        "search_hits_total 1.0",
        'search_stage_seconds_count{stage="engine"} 1.0',
    ):
        assert line in text
    for name in ("search_journal_bytes", "search_embedded_bytes"):
        assert f"\n{name} 0.0\n" not in text
        assert f"\n{name} " in text


async def test_settings_that_do_not_fit_together_stop_the_start(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one\ntwo\n")
    for settings, fault in (
        ({"encoder_ca": file}, "need SEARCH_ENCODER_TLS"),
        ({"encoder_tls": True, "encoder_key": file}, "_CERTIFICATE and SEARCH_ENCODER_KEY go"),
        ({"encoder_tls": True, "encoder_token_file": file}, "holds 2 tokens"),
    ):
        with pytest.raises(StartError, match=fault):
            async with running_search(tmp_path / "home", NOBODY, **settings):
                pass


async def test_a_second_service_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    async with running_search(tmp_path, NOBODY):
        with pytest.raises(FailedPrecondition, match="another search service"):
            async with running_search(tmp_path, NOBODY):
                pass

"""A full disk, all the way: who writes is told so, nothing is lost, and it heals by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
import pytest

from searchmesh.search.v1.document_pb2 import Document
from searchmesh_common import status
from searchmesh_common.errors import Unavailable

from .disks import filled, small_disk
from .imports.streams import bring, ended, ids, messages, metadata, numbered, send, until
from .mesh import NOBODY, floats, refused, running_search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from searchmesh_common.errors import ServiceError

    from .mesh import Mesh

DOCUMENTS = "searchmesh.search.v1.DocumentService"
MEGABYTES = 24

SEARCH = "searchmesh.search.v1.SearchService"

PLACES: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "contents": lambda disk: {"contents": disk / "contents"},
    "journal": lambda disk: {"journal": f"sqlite:///{disk}/journal.db"},
    "engine": lambda disk: {"engine": str(disk / "milvus.db")},
}
"""What is on the disk that is full, as settings; all else has room."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", MEGABYTES) as disk:
        yield disk


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
async def test_upserts_are_refused_and_what_was_acknowledged_is_kept(
    disk: Path, tmp_path: Path, place: str
) -> None:
    acknowledged: set[str] = set()
    settings = {"collect_interval_seconds": 0.1, **PLACES[place](disk)}
    async with running_search(tmp_path / "home", NOBODY, **settings) as mesh:
        await mesh.until_serving(DOCUMENTS)
        await mesh.create("things")
        assert await upserted(mesh, "before", acknowledged)
        with filled(disk, left_bytes=60_000):
            for n in range(5):
                await upserted(mesh, f"full-{n}", acknowledged)
            assert not await upserted(mesh, "at last", acknowledged)
            assert set(await ids(mesh, "things")) == acknowledged
            await mesh.until_serving(DOCUMENTS, wanted=False)
            # without room for contents, all but writing them goes on
            await mesh.until_serving(SEARCH, wanted=place == "contents")
        await mesh.until_serving(DOCUMENTS)
        assert await upserted(mesh, "after", acknowledged)
    async with running_search(tmp_path / "home", NOBODY, **settings) as mesh:
        await mesh.until_serving(DOCUMENTS)
        assert set(await ids(mesh, "things")) == acknowledged
        found = await mesh.find("things", vector=floats(1, 0, 0, 0), limit=len(acknowledged))
        assert {hit.id for hit in found.hits} == acknowledged


async def upserted(mesh: Mesh, name: str, acknowledged: set[str]) -> bool:
    """Write some documents; whether they were stored, which is told at once either way."""
    documents = large(50, f"{name}-")
    started = time.monotonic()
    try:
        await mesh.upsert("things", *documents)
    except grpc.aio.AioRpcError as error:
        check_told(status.from_rpc_error(error))
        return False
    finally:
        assert time.monotonic() - started < 10
    acknowledged.update(one.id for one in documents)
    return True


def large(count: int, prefix: str = "") -> list[Document]:
    documents = [Document(id=f"{prefix}{n}", vector=floats(n, 1, 0, 0)) for n in range(count)]
    for one in documents:
        one.attributes["text"] = "y" * 300
    return documents


def check_told(error: ServiceError) -> None:
    assert isinstance(error, Unavailable), error
    assert "full" in error.message or "No space left" in error.message


@pytest.mark.slow
async def test_an_import_is_cut_and_goes_on_when_there_is_room(disk: Path) -> None:
    documents = large(5000)
    async with running_search(disk / "home", NOBODY) as mesh:
        await mesh.until_serving(DOCUMENTS)
        await mesh.create("things")
        with filled(disk, left_bytes=700_000):
            check_told(await refused(send(mesh, messages("things", documents, "again", each=100))))
            shown = await until(mesh, "operations/again", received=1)
            assert shown.received_count < len(documents)
            await mesh.until_serving(DOCUMENTS, wanted=False)
        await mesh.until_serving(DOCUMENTS)
        operation = await bring(mesh, "things", documents, "again", shown.received_count)
        assert metadata(operation).received_count == len(documents)
        done = await ended(mesh, operation.name)
        assert (done.searchable_count, done.failed_count) == (len(documents), 0)
        assert len(await ids(mesh, "things")) == len(documents)


@pytest.mark.slow
async def test_a_collection_is_not_made_and_a_start_is_refused_where_there_is_no_room(
    disk: Path,
) -> None:
    async with running_search(disk / "home", NOBODY) as mesh:
        await mesh.until_serving(DOCUMENTS)
        with filled(disk):
            check_told(await refused(mesh.create("things")))
        await mesh.until_serving(DOCUMENTS)
        await mesh.create("things")
        await bring(mesh, "things", numbered(3))
    with filled(disk), pytest.raises(Unavailable, match=r"full|No space left"):
        async with running_search(disk / "other", NOBODY):
            pass

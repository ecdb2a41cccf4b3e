"""A backup of a service that is written to all the time, and what is there after a restore."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh.search.v1.document_pb2 import Document
from searchmesh_search import content_collector, server
from searchmesh_search.content_store import ContentStore
from tests.crash.readback import unexplained_rows
from tests.search.imports.streams import bring, ended, numbered
from tests.search.mesh import NOBODY, SECONDS, floats, running_search

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.search.mesh import Mesh

_DOCUMENTS = "searchmesh.search.v1.DocumentService"
_NAMES = "abc"
"""Of writers."""
_IDS = 20
"""Documents of each writer: few, so that nearly all writes replace something."""
_IMPORTED = 3000


@dataclass
class Writers:
    """Replace documents all the time; a document's version counts its writes."""

    mesh: Mesh
    begun: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)

    async def write(self, name: str) -> None:
        version = 0
        while True:
            version += 1
            versions = {f"{name}{n}": version for n in range(_IDS)}
            self.begun |= versions
            await self.mesh.upsert("things", *(_document(*one) for one in versions.items()))
            self.acknowledged |= versions

    async def until_written(self, version: int) -> None:
        """Until every document was acknowledged so often."""
        async with asyncio.timeout(SECONDS):
            while True:
                if all(self.acknowledged.get(f"{name}0", 0) >= version for name in _NAMES):
                    return
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            writing = [tasks.create_task(self.write(name)) for name in _NAMES]
            await self.until_written(3)
            yield
            for one in writing:
                one.cancel()


def _document(document_id: str, version: int) -> Document:
    document = Document(id=document_id, vector=floats(version, 1, 0, 0))
    document.attributes["version"] = version
    return document


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the collector finds something to delete all the time."""
    monkeypatch.setattr(server, "ContentStore", partial(ContentStore, max_pack_bytes=10_000))
    monkeypatch.setattr(content_collector, "SMALL_PACK_BYTES", 0)


@pytest.mark.slow
@pytest.mark.usefixtures("small_packs")
async def test_all_that_was_acknowledged_before_is_there_once(tmp_path: Path) -> None:
    async with running_search(tmp_path / "home", NOBODY, collect_interval_seconds=0.1) as mesh:
        await mesh.until_serving(_DOCUMENTS)
        await mesh.create("things")
        await mesh.create("imported")
        writers = Writers(mesh)
        async with writers.writing():
            # received, which is a promise, and far from stored
            operation = await bring(mesh, "imported", numbered(_IMPORTED))
            before = dict(writers.acknowledged)
            made = await command("backup", tmp_path / "home", tmp_path / "backup")
            begun = dict(writers.begun)
            assert made["collections"] == 2
            # and it has gone on, meanwhile and after
            await writers.until_written(max(begun.values()) + 1)
    brought = await command("restore", tmp_path / "new", tmp_path / "backup")
    assert brought == made
    async with running_search(tmp_path / "new", NOBODY) as mesh:
        await mesh.until_serving(_DOCUMENTS)
        found = await listed(mesh, "things")
        assert found.keys() == before.keys()
        assert all(before[one] <= found[one] <= begun[one] for one in found)
        hits = (await searched(mesh, "things")).hits
        assert sorted((hit.id, hit.attributes["version"]) for hit in hits) == sorted(found.items())
        assert (await ended(mesh, operation.name)).searchable_count == _IMPORTED
        assert len({hit.id for hit in (await searched(mesh, "imported")).hits}) == 1000
    assert await unexplained_rows(tmp_path / "new") == []


async def command(name: str, home: Path, folder: Path) -> Any:
    """Run a command of the program; returns what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "searchmesh_search", name, str(folder), "--json"),
        env={**os.environ, "SEARCHMESH_HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out)


async def listed(mesh: Mesh, collection: str) -> dict[str, int]:
    """The version of each document."""
    request = pb.ListDocumentsRequest(collection=collection, page_size=1000)
    answer = await mesh.documents.ListDocuments(request, timeout=SECONDS)
    return {one.id: int(one.attributes["version"]) for one in answer.documents}


async def searched(mesh: Mesh, collection: str) -> Any:
    return await mesh.find(
        collection, vector=floats(1, 1, 0, 0), limit=1000, output_fields=["version"]
    )

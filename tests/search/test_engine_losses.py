"""An engine that lost what the journal says it holds: said clearly, whatever is asked."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

import pytest

from searchmesh.search.v1.document_pb2 import Document
from searchmesh_common.errors import DataLoss, Unavailable
from searchmesh_search.engine import row_key
from searchmesh_search.engine_losses import report_losses

from .mesh import NOBODY, floats, refused, running_search
from .stack import document, soon

if TYPE_CHECKING:
    from pathlib import Path

    from .stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_deleted_file_is_told_by_every_call_and_a_new_collection_serves(
    tmp_path: Path,
) -> None:
    async with running_search(tmp_path, NOBODY) as mesh:
        await mesh.create("things")
        await mesh.upsert("things", Document(id="a", vector=floats(1, 0, 0, 0)))
    shutil.rmtree(tmp_path / "engine")
    async with running_search(tmp_path, NOBODY) as mesh:
        await mesh.until_serving("searchmesh.search.v1.SearchService")
        for call in (
            mesh.find("things", vector=floats(1, 0, 0, 0)),
            mesh.find("things", document_id="a"),
            mesh.upsert("things", Document(id="b", vector=floats(1, 0, 0, 0))),
        ):
            error = await refused(call)
            assert isinstance(error, DataLoss)
            assert error.message == (
                "the engine has lost the rows of collection 'things' (documents: 1); "
                "restore the engine's data, or delete the collection and bring its documents in "
                "again"
            )
        await mesh.delete("things")
        await mesh.create("things")
        await mesh.upsert("things", Document(id="b", vector=floats(1, 0, 0, 0)))
        assert [hit.id for hit in (await mesh.find("things", document_id="b")).hits] == []


async def test_a_lost_row_is_data_loss(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a"))
    await stack.engine.delete(things.physical, [row_key("a", 1, 0)], 5)
    with pytest.raises(DataLoss, match="lost vectors of document 'a' in collection 'things'"):
        await stack.documents.vector(things, "a", soon())


async def test_a_start_reports_every_collection_that_lost_rows(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    whole, short, gone = [await stack.collection(name) for name in ("whole", "short", "gone")]
    for things in (whole, short, gone):
        await stack.upsert(things, document("a"), document("b"))
    await stack.engine.delete(short.physical, [row_key("a", 1, 0)], 5)
    await stack.engine.drop_collection(gone.physical, 5)
    stack.engine.fail_once("count_rows", Unavailable("it is starting"))
    with caplog.at_level(logging.ERROR):
        await report_losses(stack.journal, stack.engine, retry_seconds=0)
    told = [vars(record)["fields"] for record in caplog.records]
    assert [(one["collection"], one["documents"], one["rows"]) for one in told] == [
        ("short", 2, 1),
        ("gone", 2, 0),
    ]

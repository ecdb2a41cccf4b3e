"""Operations and what they show, over gRPC."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from google.longrunning import operations_pb2 as ops_pb
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2

from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh.search.v1.document_pb2 import Document
from searchmesh_common.errors import FailedPrecondition, NotFound
from tests.search.mesh import SECONDS, faults, floats, refused

from .streams import (
    Stream,
    bring,
    cancel,
    ended,
    first_message,
    got,
    ids,
    metadata,
    numbered,
    until,
)

if TYPE_CHECKING:
    from tests.search.mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOWHERE = "operations/nowhere"


@pytest_asyncio.fixture(loop_scope="module")
async def things(mesh: Mesh, request: pytest.FixtureRequest) -> str:
    """A collection of the test's own."""
    name = f"c{abs(hash(request.node.name))}"
    await mesh.create(name)
    return name


async def watched(mesh: Mesh, name: str) -> list[pb.ImportMetadata]:
    """All that a watch answers until the import has ended."""
    watch = mesh.documents.WatchImport(pb.WatchImportRequest(name=name), timeout=SECONDS)
    return [shown async for shown in watch]


async def failures(mesh: Mesh, name: str, page_size: int) -> list[pb.ImportFailure]:
    listed: list[pb.ImportFailure] = []
    request = pb.ListImportFailuresRequest(name=name, page_size=page_size)
    while True:
        page = await mesh.documents.ListImportFailures(request, timeout=SECONDS)
        assert len(page.failures) <= page_size
        listed += page.failures
        if not page.next_page_token:
            return listed
        request.page_token = page.next_page_token


async def test_a_watch_shows_the_operations_metadata_until_the_end(mesh: Mesh, things: str) -> None:
    name = (await bring(mesh, things, numbered(3000))).name
    shown = await watched(mesh, name)
    for field in ("received_count", "encoded_count", "stored_count", "searchable_count"):
        counts = [getattr(one, field) for one in shown]
        assert counts == sorted(counts)
    operation = await got(mesh, name)
    assert shown[-1] == metadata(operation)
    assert operation.response.value == operation.metadata.value
    # and anywhere, any time later
    assert await watched(mesh, name) == [shown[-1]]


async def test_faulty_documents_are_set_aside_and_listed(mesh: Mesh, things: str) -> None:
    documents = numbered(700)
    faulty = {
        3: Document(id="wide", vector=floats(1, 0)),
        4: Document(vector=floats(1, 0, 0, 0)),
        5: Document(id="a\0" + "b" * 300, vector=floats(1, 0, 0, 0)),
        650: Document(id="bare"),
    }
    for position, one in faulty.items():
        documents[position] = one
    done = await ended(mesh, (await bring(mesh, things, documents, things)).name)
    assert done.state == pb.IMPORT_STATE_SUCCEEDED
    assert (done.stored_count, done.failed_count) == (696, 4)
    listed = await failures(mesh, f"operations/{things}", 3)
    assert list(done.failures) == listed
    assert [one.position for one in listed] == list(faulty)
    assert all(one.status.code == code_pb2.INVALID_ARGUMENT for one in listed)
    assert listed[0].id == "wide"
    assert "documents[" not in str(listed)
    assert listed[2].id == "a\N{REPLACEMENT CHARACTER}" + "b" * 254 + "…"
    assert len(await ids(mesh, things)) == 696


async def test_waiting_ends_with_its_timeout_and_with_the_import(mesh: Mesh, things: str) -> None:
    async with Stream(mesh, [first_message(things, things)]) as stream:
        await until(mesh, stream.name)
        began = time.monotonic()
        operation = await mesh.operations.WaitOperation(
            ops_pb.WaitOperationRequest(name=stream.name, timeout=Duration(nanos=200_000_000)),
            timeout=SECONDS,
        )
        assert not operation.done
        assert time.monotonic() - began >= 0.2
        # without a timeout the call's own deadline counts, and the call is answered
        request = ops_pb.WaitOperationRequest(name=stream.name)
        assert not (await mesh.operations.WaitOperation(request, timeout=2)).done
    await bring(mesh, things, numbered(10), things)
    assert (await ended(mesh, f"operations/{things}")).stored_count == 10


async def test_operations_are_listed_by_name_in_pages(mesh: Mesh, things: str) -> None:
    names = {(await bring(mesh, things, numbered(1), f"{things}.{n}")).name for n in range(5)}
    listed: list[str] = []
    request = ops_pb.ListOperationsRequest(name="operations", page_size=2)
    while True:
        page = await mesh.operations.ListOperations(request, timeout=SECONDS)
        listed += [one.name for one in page.operations]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == sorted(listed)
    assert names <= set(listed)


async def test_an_ended_operation_is_forgotten_and_its_documents_stay(
    mesh: Mesh, things: str
) -> None:
    request = ops_pb.DeleteOperationRequest(name=f"operations/{things}")
    async with Stream(mesh, [first_message(things, things)]) as stream:
        await until(mesh, stream.name)
        error = await refused(mesh.operations.DeleteOperation(request, timeout=SECONDS))
        assert isinstance(error, FailedPrecondition)
        assert error.reason == "OPERATION_RUNNING"
    await ended(mesh, (await bring(mesh, things, numbered(10), things)).name)
    await mesh.operations.DeleteOperation(request, timeout=SECONDS)
    assert isinstance(await refused(got(mesh, request.name)), NotFound)
    assert len(await ids(mesh, things)) == 10
    # its request_id is free again
    await ended(mesh, (await bring(mesh, things, numbered(5), things)).name)


async def test_an_operation_that_has_ended_cannot_be_cancelled_any_more(
    mesh: Mesh, things: str
) -> None:
    done = await ended(mesh, (await bring(mesh, things, numbered(1), things)).name)
    await cancel(mesh, f"operations/{things}")
    assert metadata(await got(mesh, f"operations/{things}")) == done


async def test_an_unknown_operation_is_not_found(mesh: Mesh) -> None:
    operations = mesh.operations
    for call in (
        got(mesh, NOWHERE),
        cancel(mesh, NOWHERE),
        operations.DeleteOperation(ops_pb.DeleteOperationRequest(name=NOWHERE)),
        operations.WaitOperation(ops_pb.WaitOperationRequest(name=NOWHERE), timeout=SECONDS),
        watched(mesh, NOWHERE),
        failures(mesh, NOWHERE, 1),
    ):
        error = await refused(call)
        assert isinstance(error, NotFound)
        assert error.name == NOWHERE


async def test_a_faulty_request_names_its_field(mesh: Mesh, things: str) -> None:
    name = (await bring(mesh, things, numbered(1))).name
    operations = mesh.operations
    for call, field in (
        (got(mesh, "things"), "name"),
        (operations.ListOperations(ops_pb.ListOperationsRequest(name="others")), "name"),
        (operations.ListOperations(ops_pb.ListOperationsRequest(filter="done")), "filter"),
        (operations.ListOperations(ops_pb.ListOperationsRequest(page_size=-1)), "page_size"),
        (operations.ListOperations(ops_pb.ListOperationsRequest(page_token="x")), "page_token"),
        (
            mesh.documents.ListImportFailures(
                pb.ListImportFailuresRequest(name=name, page_token="x")
            ),
            "page_token",
        ),
    ):
        assert await faults(call) == [field]

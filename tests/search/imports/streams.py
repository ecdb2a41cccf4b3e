"""Streams of documents into a running search service, and what became of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
from google.longrunning import operations_pb2
from google.protobuf.duration_pb2 import Duration

from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh.search.v1.document_pb2 import Document
from tests.search.mesh import SECONDS, floats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from typing import Self

    from tests.search.mesh import Mesh


def numbered(count: int, start: int = 0) -> list[Document]:
    """Documents whose ids and vectors are their numbers."""
    return [Document(id=str(n), vector=floats(n, 1, 0, 0)) for n in range(start, start + count)]


def messages(
    collection: str,
    documents: Sequence[Document],
    request_id: str = "",
    resume_from: int = 0,
    *,
    each: int = 1000,
) -> Iterator[pb.ImportDocumentsRequest]:
    """A stream's messages; `each`: documents of one. Only those from `resume_from` on are sent."""
    yield first_message(collection, request_id, resume_from)
    for start in range(resume_from, len(documents), each):
        yield pb.ImportDocumentsRequest(documents=documents[start : start + each])


def first_message(
    collection: str, request_id: str = "", resume_from: int = 0
) -> pb.ImportDocumentsRequest:
    return pb.ImportDocumentsRequest(
        config=pb.ImportConfig(
            collection=collection, request_id=request_id, resume_from=resume_from
        )
    )


async def bring(
    mesh: Mesh,
    collection: str,
    documents: Sequence[Document],
    request_id: str = "",
    resume_from: int = 0,
    *,
    each: int = 1000,
) -> operations_pb2.Operation:
    """Bring documents in; returns the operation as it is once all are received."""
    return await send(mesh, messages(collection, documents, request_id, resume_from, each=each))


class Stream:
    """An import's stream that stays open until it is left, and is cut then."""

    def __init__(self, mesh: Mesh, first: Iterable[pb.ImportDocumentsRequest]) -> None:
        """first: messages to begin with; a request_id is in the first one."""
        self._messages: asyncio.Queue[pb.ImportDocumentsRequest] = asyncio.Queue()
        for message in first:
            self._messages.put_nowait(message)
            if message.HasField("config"):
                self.name = f"operations/{message.config.request_id}"
        self.call = mesh.documents.ImportDocuments(self._sent(), timeout=SECONDS)

    async def _sent(self) -> AsyncIterator[pb.ImportDocumentsRequest]:
        while True:
            yield await self._messages.get()

    def more(self, message: pb.ImportDocumentsRequest) -> None:
        """Send another message."""
        self._messages.put_nowait(message)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.call.cancel()


async def send(mesh: Mesh, stream: Iterable[pb.ImportDocumentsRequest]) -> operations_pb2.Operation:
    operation: operations_pb2.Operation = await mesh.documents.ImportDocuments(
        iter(stream), timeout=SECONDS
    )
    return operation


async def ended(mesh: Mesh, name: str) -> pb.ImportMetadata:
    """An import once it has ended."""
    request = operations_pb2.WaitOperationRequest(name=name, timeout=Duration(seconds=SECONDS))
    operation = await mesh.operations.WaitOperation(request, timeout=SECONDS + 5)
    assert operation.done, operation
    return metadata(operation)


async def cancel(mesh: Mesh, name: str) -> None:
    await mesh.operations.CancelOperation(
        operations_pb2.CancelOperationRequest(name=name), timeout=SECONDS
    )


async def got(mesh: Mesh, name: str) -> operations_pb2.Operation:
    operation: operations_pb2.Operation = await mesh.operations.GetOperation(
        operations_pb2.GetOperationRequest(name=name), timeout=SECONDS
    )
    return operation


def metadata(operation: operations_pb2.Operation) -> pb.ImportMetadata:
    message = pb.ImportMetadata()
    assert operation.metadata.Unpack(message)
    return message


async def ids(mesh: Mesh, collection: str) -> list[str]:
    """Every id of a collection."""
    listed: list[str] = []
    request = pb.ListDocumentsRequest(collection=collection, page_size=1000)
    while True:
        page = await mesh.documents.ListDocuments(request, timeout=SECONDS)
        listed += [one.id for one in page.documents]
        if not page.next_page_token:
            return listed
        request.page_token = page.next_page_token


async def until(
    mesh: Mesh, name: str, *, received: int = 0, stored: int = 0, waiting: bool = False
) -> pb.ImportMetadata:
    """An import once it has received and stored so many documents, and says what it waits for where
    asked.
    """
    async with asyncio.timeout(SECONDS):
        while True:
            shown = await _shown(mesh, name)
            if (
                shown is not None
                and shown.received_count >= received
                and shown.stored_count >= stored
                and (shown.HasField("waiting_for") or not waiting)
            ):
                return shown
            await asyncio.sleep(0.02)


async def _shown(mesh: Mesh, name: str) -> pb.ImportMetadata | None:
    """None where its stream has only just begun."""
    try:
        return metadata(await got(mesh, name))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None

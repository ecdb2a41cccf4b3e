"""DocumentService: translate, call the core, translate back."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh.search.v1 import document_service_pb2_grpc as pb_grpc
from searchmesh_common.errors import Unavailable
from searchmesh_search import write_tokens
from searchmesh_search.convert import documents as convert
from searchmesh_search.convert import filters
from searchmesh_search.convert import imports as convert_imports
from searchmesh_search.convert import operations as convert_operations
from searchmesh_search.deadline import Deadline
from searchmesh_search.later import later
from searchmesh_search.off_loop import off_loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from typing import Any

    from google.longrunning import operations_pb2
    from google.protobuf.message import Message
    from grpc.aio import ServicerContext

    from searchmesh.search.v1 import document_pb2
    from searchmesh_search.collections import Collections
    from searchmesh_search.document_writer import DocumentWriter
    from searchmesh_search.documents import Documents
    from searchmesh_search.exporter import Exporter
    from searchmesh_search.filter_deletes import FilterDeletes
    from searchmesh_search.imports.operations import Operations
    from searchmesh_search.imports.receiver import Receiver
    from searchmesh_search.matching import Matching
    from searchmesh_search.metrics import SearchMetrics

SERVICE: str = pb.DESCRIPTOR.services_by_name["DocumentService"].full_name

DEFAULT_PAGE_SIZE = 100

STEP_SECONDS = 30.0
"""Time for each message of an export, without that for which its reader lets it wait."""


class DocumentServicer(pb_grpc.DocumentServiceServicer):
    """Brings documents in, and reads, counts, deletes and exports them."""

    def __init__(
        self,
        collections: Collections,
        documents: Documents,
        writer: DocumentWriter,
        matching: Matching,
        filter_deletes: FilterDeletes,
        exporter: Exporter,
        receiver: Receiver,
        operations: Operations,
        metrics: SearchMetrics,
        *,
        draining: asyncio.Event,
        validate: Callable[[Message], None],
    ) -> None:
        """draining: set when the server wants streams to end. validate: raises InvalidRequest; for
        the messages of streams.
        """
        self._collections = collections
        self._documents = documents
        self._writer = writer
        self._matching = matching
        self._filter_deletes = filter_deletes
        self._exporter = exporter
        self._receiver = receiver
        self._operations = operations
        self._metrics = metrics
        self._draining = draining
        self._validate = validate

    async def UpsertDocuments(
        self, request: pb.UpsertDocumentsRequest, context: ServicerContext[Any, Any]
    ) -> pb.UpsertDocumentsResponse:
        deadline = Deadline.of_call()
        collection = await self._collections.get(request.collection, deadline)
        # a thousand documents would keep the event loop for too long
        documents = await asyncio.to_thread(convert.documents, request)
        result = await self._writer.upsert(collection, documents, deadline, request.request_id)
        self._metrics.upserted(result)
        return await off_loop(len(documents), convert.upsert_response, request, result)

    async def GetDocument(
        self, request: pb.GetDocumentRequest, context: ServicerContext[Any, Any]
    ) -> document_pb2.Document:
        _require_token(request.read_after)
        deadline = Deadline.of_call()
        collection = await self._collections.get(request.collection, deadline)
        read = self._documents.get_with_vector if request.include_vector else self._documents.get
        found = await read(collection, request.id, deadline)
        vectors = 0 if found.segments is None else len(found.segments.vectors)
        return await off_loop(len(found.stored) // 1024 + vectors, convert.document, found)

    async def ListDocuments(
        self, request: pb.ListDocumentsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListDocumentsResponse:
        _require_token(request.read_after)
        deadline = Deadline.of_call()
        collection = await self._collections.get(request.collection, deadline)
        page = await self._documents.list_page(
            collection, request.page_size or DEFAULT_PAGE_SIZE, request.page_token, deadline
        )
        return await asyncio.to_thread(convert.page, page)

    async def DeleteDocuments(
        self, request: pb.DeleteDocumentsRequest, context: ServicerContext[Any, Any]
    ) -> pb.DeleteDocumentsResponse:
        where = await off_loop(filters.size(request), filters.where, request)
        deadline = Deadline.of_call()
        collection = await self._collections.get(request.collection, deadline)
        request_id = request.request_id
        if where is None:
            deleted = await self._writer.delete(collection, request.ids, request_id, deadline)
        else:
            deleted = await self._filter_deletes.delete(collection, where, request_id, deadline)
        self._metrics.deleted(deleted)
        return convert.delete_response(deleted)

    async def CountDocuments(
        self, request: pb.CountDocumentsRequest, context: ServicerContext[Any, Any]
    ) -> pb.CountDocumentsResponse:
        where = await off_loop(filters.size(request), filters.where, request)
        _require_token(request.read_after)
        deadline = Deadline.of_call()
        collection = await self._collections.get(request.collection, deadline)
        if where is None:
            count = await self._documents.count(collection, deadline)
        else:
            count = await self._matching.count(collection, where, deadline)
        return pb.CountDocumentsResponse(count=count)

    async def ImportDocuments(
        self,
        request_iterator: AsyncIterator[pb.ImportDocumentsRequest],
        context: ServicerContext[Any, Any],
    ) -> operations_pb2.Operation:
        messages = aiter(request_iterator)
        config = convert_imports.config(await anext(messages, None), self._validate)
        import_id = await self._receiver.receive(config, convert_imports.documents(messages))
        return convert_operations.message(await self._operations.get(import_id))

    async def WatchImport(
        self, request: pb.WatchImportRequest, context: ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ImportMetadata]:
        watching = self._operations.watch(convert_operations.import_id(request.name))
        async with aclosing(watching) as statuses:
            async for status in statuses:
                yield convert_imports.metadata(status)

    async def ListImportFailures(
        self, request: pb.ListImportFailuresRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListImportFailuresResponse:
        page = await self._operations.failures_page(
            convert_operations.import_id(request.name),
            request.page_size or DEFAULT_PAGE_SIZE,
            request.page_token,
            Deadline.of_call(),
        )
        return convert_imports.failures_page(page)

    async def ExportDocuments(
        self, request: pb.ExportDocumentsRequest, context: ServicerContext[Any, Any]
    ) -> AsyncGenerator[pb.ExportDocumentsResponse]:
        # what was answered is in the journal, and vectors are read as of now; so any token will do
        write_tokens.decode(request.read_after)
        collection = await self._collections.get(request.collection, _step())
        parts = self._exporter.export(
            collection, request.after_id, _step, with_vectors=request.include_vectors
        )
        async with aclosing(parts):
            async for part in parts:
                yield await asyncio.to_thread(convert.export_response, part)
                self._metrics.exported(len(part))
                if self._draining.is_set():
                    raise Unavailable(
                        "this server is draining; go on elsewhere, with after_id set to the last "
                        "id that came"
                    )


def _step() -> Deadline:
    return Deadline.of_step(STEP_SECONDS)


def _require_token(read_after: str) -> None:
    """For reads of the journal, which has every write that was answered, and of the engine as of
    now: any token will do, but it must be one. Raises InvalidRequest.
    """
    write_tokens.decode(read_after)


def _refuse(method: str) -> None:
    """For methods that must hold a `yield` to be streams at all."""
    raise later(method)

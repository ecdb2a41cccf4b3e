"""The asyncio client."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from searchmesh import batches
from searchmesh.attempts import Attempts
from searchmesh.calls import collections as collection_calls
from searchmesh.calls import documents as document_calls
from searchmesh.calls import encoder as encoder_calls
from searchmesh.calls import health as health_calls
from searchmesh.calls import operations as operation_calls
from searchmesh.calls import search as search_calls
from searchmesh.connection import Connection, Service
from searchmesh.errors import NotFound, ServiceError
from searchmesh.exchange import Exchange
from searchmesh.following import items_async
from searchmesh.import_operation import AsyncImportOperation
from searchmesh.rpc import described_by
from searchmesh.streaming import answers_async
from searchmesh.uploading import upload_all_async
from searchmesh.uploads import Upload
from searchmesh_common import channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from types import TracebackType

    import grpc

    from searchmesh.exchange import EncodeStream
    from searchmesh.resources import Document
    from searchmesh.results import Operation, StreamedResult, UpsertBatch, UpsertSummary
    from searchmesh.rpc import Answers, Call, Pages, Rpc
    from searchmesh.uploads import ImportStream

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def _unary(
    describe: Callable[Parameters, Call[Result]],
) -> Callable[Concatenate[AsyncClient, Parameters], Awaitable[Result]]:
    """The method that makes the call which `describe` describes."""

    @described_by(describe, "Awaitable[{}]")
    async def method(
        self: AsyncClient, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        return await self.run(describe(*args, **kwargs))

    return method


def _listing(
    describe: Callable[Parameters, Pages[Result]],
) -> Callable[Concatenate[AsyncClient, Parameters], AsyncIterator[Result]]:
    """The method that iterates over the pages which `describe` describes, fetched as needed."""

    @described_by(describe, "AsyncIterator[{}]")
    def method(
        self: AsyncClient, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> AsyncIterator[Result]:
        return self._items(describe(*args, **kwargs))

    return method


def _streaming(
    describe: Callable[Parameters, EncodeStream],
) -> Callable[Concatenate[AsyncClient, Parameters], AsyncIterator[StreamedResult]]:
    """The method that carries the stream which `describe` describes."""

    @described_by(describe, "AsyncIterator[StreamedResult]")
    def method(
        self: AsyncClient, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> AsyncIterator[StreamedResult]:
        return self._answers(describe(*args, **kwargs))

    return method


def _importing(
    describe: Callable[Parameters, ImportStream],
) -> Callable[Concatenate[AsyncClient, Parameters], Awaitable[AsyncImportOperation]]:
    """The method that carries the import which `describe` describes."""

    @described_by(describe, "Awaitable[AsyncImportOperation]")
    async def method(
        self: AsyncClient, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> AsyncImportOperation:
        return await self._import(describe(*args, **kwargs))

    return method


def _following(
    describe: Callable[Parameters, Answers[Result]],
) -> Callable[Concatenate[AsyncClient, Parameters], AsyncIterator[Result]]:
    """The method that follows the answers which `describe` describes."""

    @described_by(describe, "AsyncIterator[{}]")
    def method(
        self: AsyncClient, /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> AsyncIterator[Result]:
        return self._follow(describe(*args, **kwargs))

    return method


class AsyncClient:
    """Calls both services from one event loop; the methods are those of `Client`, awaited.

        async with AsyncClient() as mesh:
            result = await mesh.search("notes", "groceries", limit=3)
            names = [collection.name async for collection in mesh.list_collections()]

    To be made inside the event loop. Cancelling a task cancels its call.
    """

    encode = _unary(encoder_calls.encode)
    encode_stream = _streaming(encoder_calls.encode_stream)
    get_model = _unary(encoder_calls.get_model)
    list_models = _listing(encoder_calls.list_models)
    create_collection = _unary(collection_calls.create_collection)
    get_collection = _unary(collection_calls.get_collection)
    list_collections = _listing(collection_calls.list_collections)
    delete_collection = _unary(collection_calls.delete_collection)
    upsert_documents = _unary(document_calls.upsert_documents)
    import_documents = _importing(document_calls.import_documents)
    watch_import = _following(document_calls.watch_import)
    list_import_failures = _listing(document_calls.list_import_failures)
    export_documents = _following(document_calls.export_documents)
    get_document = _unary(document_calls.get_document)
    list_documents = _listing(document_calls.list_documents)
    delete_documents = _unary(document_calls.delete_documents)
    count_documents = _unary(document_calls.count_documents)
    get_operation = _unary(operation_calls.get_operation)
    list_operations = _listing(operation_calls.list_operations)
    cancel_operation = _unary(operation_calls.cancel_operation)
    delete_operation = _unary(operation_calls.delete_operation)
    search = _unary(search_calls.search)
    batch_search = _unary(search_calls.batch_search)
    recommend = _unary(search_calls.recommend)
    classify = _unary(search_calls.classify)
    answer = _unary(search_calls.answer)
    facets = _unary(search_calls.facets)
    health = _unary(health_calls.health)

    def __init__(self, connection: Connection | None = None) -> None:
        """connection: by default both services on this machine at their usual ports."""
        self.connection = connection or Connection()
        self._channels = {
            service: channels.aio_channel(self.connection.target(service)) for service in Service
        }
        self._stubs: dict[Rpc[Any], grpc.aio.UnaryUnaryMultiCallable[Any, Any]] = {}

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect. Calls in flight fail."""
        for channel in self._channels.values():
            await channel.close()

    async def upsert(
        self,
        collection: str,
        documents: Iterable[Document],
        *,
        batch_size: int = batches.DEFAULT_BATCH_SIZE,
        parallel: int = 1,
        progress: Callable[[int], None] | None = None,
        timeout: float | None = None,
    ) -> UpsertSummary:
        """As `Client.upsert`. `documents` is iterated over on the event loop."""
        total = batches.Summing(in_order=parallel == 1)
        async for batch in self.upsert_batches(
            collection, documents, batch_size=batch_size, parallel=parallel, timeout=timeout
        ):
            done = total.add(batch)
            if progress:
                progress(done)
        return total.summary()

    async def upsert_batches(
        self,
        collection: str,
        documents: Iterable[Document],
        *,
        batch_size: int = batches.DEFAULT_BATCH_SIZE,
        parallel: int = 1,
        timeout: float | None = None,
    ) -> AsyncIterator[UpsertBatch]:
        """As `Client.upsert_batches`. `documents` is iterated over on the event loop."""

        async def write(batch: batches.Batch) -> UpsertBatch:
            if not batch.messages:
                return batch.outcome(None)
            call = document_calls.upsert_messages(collection, batch.messages, timeout=timeout)
            answer: UpsertBatch = await self.run(call)
            return batch.outcome(answer)

        in_flight: deque[asyncio.Task[UpsertBatch]] = deque()
        try:
            for batch in self._batches(documents, batch_size):
                if len(in_flight) == parallel:
                    yield await in_flight.popleft()
                in_flight.append(asyncio.create_task(write(batch)))
            while in_flight:
                yield await in_flight.popleft()
        finally:
            for task in in_flight:
                task.cancel()
            await asyncio.gather(*in_flight, return_exceptions=True)

    def _batches(self, documents: Iterable[Document], batch_size: int) -> Iterator[batches.Batch]:
        return batches.batches(
            documents, batch_size, most_document_bytes=self.connection.most_document_bytes
        )

    async def run(self, call: Call[Result]) -> Result:
        """Make a call that `searchmesh.calls` describes, again where that helps."""
        attempts = Attempts(call, self.connection)
        while True:
            try:
                with attempts.translating():
                    return call.read(await self._stub(call.rpc)(call.request, **attempts.begin()))
            except ServiceError as error:
                pause = attempts.pause_after(error)
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def _items(self, pages: Pages[Result]) -> AsyncIterator[Result]:
        token = ""
        while True:
            page = await self.run(pages.page(token))
            for item in page.items:
                yield item
            token = page.next_token
            if not token:
                return

    def _answers(self, stream: EncodeStream) -> AsyncIterator[StreamedResult]:
        open_stream = self._stream("stream_stream", stream.rpc)
        return answers_async(Exchange(stream, self.connection), open_stream)

    async def _import(self, stream: ImportStream) -> AsyncImportOperation:
        async def ask() -> Operation | None:
            try:
                return await self.run(operation_calls.get_operation(stream.operation))
            except NotFound:
                return None

        open_stream = self._stream("stream_unary", stream.rpc)
        upload = Upload(stream, self.connection)
        with upload.named():
            operation = await upload_all_async(upload, open_stream, ask)
        return AsyncImportOperation(self, operation, upload)

    def _follow(self, answers: Answers[Result]) -> AsyncIterator[Result]:
        open_stream = self._stream("unary_stream", answers.rpc)
        return items_async(answers, self.connection, open_stream)

    def _stream(self, kind: str, rpc: Rpc[Any]) -> Any:
        """What opens streams of an rpc. kind: the channel's method."""
        return getattr(self._channels[rpc.service], kind)(
            rpc.path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=rpc.response.FromString,
        )

    def _stub(self, rpc: Rpc[Any]) -> grpc.aio.UnaryUnaryMultiCallable[Any, Any]:
        if rpc not in self._stubs:
            self._stubs[rpc] = self._channels[rpc.service].unary_unary(
                rpc.path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=rpc.response.FromString,
            )
        return self._stubs[rpc]

"""A server of imports and exports that breaks its streams as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from searchmesh import Connection, RetryPolicy
from searchmesh.search.v1 import document_pb2
from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh_common import status
from searchmesh_common.errors import NotFound, ServiceError, Unavailable

Requests = Iterator[pb.ImportDocumentsRequest]
DRAINING = Unavailable("this server is draining; open the stream again", 0.01)


@dataclass
class Received:
    """What the server holds of one import."""

    collection: str
    documents: list[document_pb2.Document] = field(default_factory=list)
    state: str = "IMPORT_STATE_RECEIVING"


@dataclass
class Importing:
    """Keeps what it receives, message by message."""

    imports: dict[str, Received] = field(default_factory=dict)
    """By request id."""
    cuts: list[int] = field(default_factory=list)
    """How many messages each stream is let have before it ends; those that follow have all."""
    cut_with: ServiceError = DRAINING
    torn: int = 0
    """How many documents of the message that is cut off are received all the same."""
    ends_early: bool = False
    """Answer after the first message."""
    forgets: bool = False
    """Lose what was received when a stream is cut."""
    opened: list[int] = field(default_factory=list)
    """Where each stream resumed from."""
    sizes: list[int] = field(default_factory=list)
    """Documents of each message."""
    watched: list[list[pb.ImportMetadata | ServiceError]] = field(default_factory=list)
    """What each watching stream is answered, in order."""
    exported: list[list[pb.ExportDocumentsResponse | ServiceError]] = field(default_factory=list)
    exports: list[pb.ExportDocumentsRequest] = field(default_factory=list)
    failures: list[pb.ImportFailure] = field(default_factory=list)
    may_receive: threading.Event = field(default_factory=threading.Event)
    """Cleared, no message is taken."""
    address: str = ""

    @property
    def connection(self) -> Connection:
        retries = RetryPolicy(most_attempts=2, most_interruption_seconds=1.0)
        return Connection(search=self.address, retries=retries)

    def import_documents(self, requests: Requests) -> operations_pb2.Operation:
        config = next(requests).config
        self.opened.append(config.resume_from)
        if config.collection == "missing":
            raise NotFound("collection", "missing", "there is no collection missing")
        received = self.imports.setdefault(config.request_id, Received(config.collection))
        position = config.resume_from
        assert position <= len(received.documents)
        most = self.cuts.pop(0) if self.cuts else None
        for count, request in enumerate(requests, 1):
            documents = list(request.documents)
            is_cut = most is not None and count > most
            if is_cut:
                documents = documents[: self.torn]
            assert self.may_receive.wait(20)
            self.sizes.append(len(documents))
            for document in documents:
                assert received.documents[position : position + 1] in ([], [document])
                received.documents[position : position + 1] = [document]
                position += 1
            if is_cut:
                if self.forgets:
                    del received.documents[0]
                raise self.cut_with
            if self.ends_early:
                break
        received.state = "IMPORT_STATE_RUNNING"
        return self._operation(config.request_id)

    def get_operation(
        self, request: operations_pb2.GetOperationRequest
    ) -> operations_pb2.Operation:
        request_id = request.name.removeprefix("operations/")
        if request_id not in self.imports:
            raise NotFound("operation", request.name, f"there is no {request.name}")
        return self._operation(request_id)

    def list_operations(
        self, request: operations_pb2.ListOperationsRequest
    ) -> operations_pb2.ListOperationsResponse:
        return operations_pb2.ListOperationsResponse(
            operations=[self._operation(request_id) for request_id in self.imports]
        )

    def cancel_operation(self, request: operations_pb2.CancelOperationRequest) -> empty_pb2.Empty:
        self.imports[request.name.removeprefix("operations/")].state = "IMPORT_STATE_CANCELLED"
        return empty_pb2.Empty()

    def delete_operation(self, request: operations_pb2.DeleteOperationRequest) -> empty_pb2.Empty:
        del self.imports[request.name.removeprefix("operations/")]
        return empty_pb2.Empty()

    def watch_import(self, request: pb.WatchImportRequest) -> Iterator[pb.ImportMetadata]:
        if not self.watched:
            yield self._metadata(request.name.removeprefix("operations/"))
            return
        for one in self.watched.pop(0):
            if isinstance(one, ServiceError):
                raise one
            yield one

    def list_import_failures(
        self, request: pb.ListImportFailuresRequest
    ) -> pb.ListImportFailuresResponse:
        first = int(request.page_token or 0)
        end = first + 2
        return pb.ListImportFailuresResponse(
            failures=self.failures[first:end],
            next_page_token=str(end) if end < len(self.failures) else "",
        )

    def export_documents(
        self, request: pb.ExportDocumentsRequest
    ) -> Iterator[pb.ExportDocumentsResponse]:
        self.exports.append(request)
        for one in self.exported.pop(0):
            if isinstance(one, ServiceError):
                raise one
            yield one

    def _operation(self, request_id: str) -> operations_pb2.Operation:
        metadata = self._metadata(request_id)
        operation = operations_pb2.Operation(name=f"operations/{request_id}")
        operation.metadata.Pack(metadata)
        operation.done = metadata.state > pb.IMPORT_STATE_RUNNING
        if metadata.state == pb.IMPORT_STATE_FAILED:
            operation.error.CopyFrom(status.to_proto(ServiceError("the collection was deleted")))
        return operation

    def _metadata(self, request_id: str) -> pb.ImportMetadata:
        received = self.imports[request_id]
        return pb.ImportMetadata(
            collection=received.collection,
            request_id=request_id,
            state=pb.ImportState.Value(received.state),
            received_count=len(received.documents),
        )


def _unary(answer: Callable[[Any], Any], request: type[Any]) -> grpc.RpcMethodHandler[Any, Any]:
    def handle(message: Any, context: grpc.ServicerContext) -> Any:
        try:
            return answer(message)
        except ServiceError as error:
            _abort(context, error)

    return grpc.unary_unary_rpc_method_handler(
        handle, request.FromString, lambda message: message.SerializeToString()
    )


def _answering(
    answer: Callable[[Any], Iterator[Any]], request: type[Any]
) -> grpc.RpcMethodHandler[Any, Any]:
    def handle(message: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from answer(message)
        except ServiceError as error:
            _abort(context, error)

    return grpc.unary_stream_rpc_method_handler(
        handle, request.FromString, lambda message: message.SerializeToString()
    )


def _receiving(
    answer: Callable[[Requests], Any],
) -> grpc.RpcMethodHandler[Any, Any]:
    def handle(requests: Requests, context: grpc.ServicerContext) -> Any:
        try:
            return answer(requests)
        except ServiceError as error:
            _abort(context, error)

    return grpc.stream_unary_rpc_method_handler(
        handle,
        pb.ImportDocumentsRequest.FromString,
        lambda message: message.SerializeToString(),
    )


def _abort(context: grpc.ServicerContext, error: ServiceError) -> None:
    proto = status.to_proto(error)
    context.set_trailing_metadata(status.trailing_metadata(proto))
    context.abort(status.code_of(error), proto.message)


@contextmanager
def importing(**how: Any) -> Iterator[Importing]:
    """A running server. how: fields of `Importing`."""
    service = Importing(**how)
    service.may_receive.set()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_registered_method_handlers(
        "searchmesh.search.v1.DocumentService",
        {
            "ImportDocuments": _receiving(service.import_documents),
            "WatchImport": _answering(service.watch_import, pb.WatchImportRequest),
            "ListImportFailures": _unary(
                service.list_import_failures, pb.ListImportFailuresRequest
            ),
            "ExportDocuments": _answering(service.export_documents, pb.ExportDocumentsRequest),
        },
    )
    server.add_registered_method_handlers(
        "google.longrunning.Operations",
        {
            "GetOperation": _unary(service.get_operation, operations_pb2.GetOperationRequest),
            "ListOperations": _unary(service.list_operations, operations_pb2.ListOperationsRequest),
            "CancelOperation": _unary(
                service.cancel_operation, operations_pb2.CancelOperationRequest
            ),
            "DeleteOperation": _unary(
                service.delete_operation, operations_pb2.DeleteOperationRequest
            ),
        },
    )
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        service.may_receive.set()
        server.stop(None).wait()

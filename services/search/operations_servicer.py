"""google.longrunning.Operations: translate, call the core, translate back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.longrunning import operations_pb2 as pb
from google.longrunning import operations_pb2_grpc as pb_grpc
from google.protobuf import empty_pb2

from searchmesh_search.convert import operations as convert
from searchmesh_search.deadline import Deadline

if TYPE_CHECKING:
    from typing import Any

    from grpc.aio import ServicerContext

    from searchmesh_search.imports.operations import Operations

SERVICE = "google.longrunning.Operations"


class OperationsServicer(pb_grpc.OperationsServicer):
    """Keeps operations: the service's imports."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def GetOperation(
        self, request: pb.GetOperationRequest, context: ServicerContext[Any, Any]
    ) -> pb.Operation:
        import_id = convert.import_id(request.name)
        return convert.message(await self._operations.get(import_id, Deadline.of_call()))

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListOperationsResponse:
        page_size = convert.page_size(request)
        return convert.page(
            await self._operations.list_page(page_size, request.page_token, Deadline.of_call())
        )

    async def CancelOperation(
        self, request: pb.CancelOperationRequest, context: ServicerContext[Any, Any]
    ) -> empty_pb2.Empty:
        await self._operations.cancel(convert.import_id(request.name), Deadline.of_call())
        return empty_pb2.Empty()

    async def DeleteOperation(
        self, request: pb.DeleteOperationRequest, context: ServicerContext[Any, Any]
    ) -> empty_pb2.Empty:
        await self._operations.delete(convert.import_id(request.name), Deadline.of_call())
        return empty_pb2.Empty()

    async def WaitOperation(
        self, request: pb.WaitOperationRequest, context: ServicerContext[Any, Any]
    ) -> pb.Operation:
        deadline = Deadline.of_call()
        import_id = convert.import_id(request.name)
        seconds = convert.wait_seconds(request, deadline.remaining())
        return convert.message(await self._operations.wait(import_id, seconds, deadline))

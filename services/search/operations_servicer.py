"""google.longrunning.Operations: there are none yet, because nothing runs for long yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.longrunning import operations_pb2 as pb
from google.longrunning import operations_pb2_grpc as pb_grpc

from searchmesh_search.later import later

if TYPE_CHECKING:
    from typing import Any

    from google.protobuf import empty_pb2
    from grpc.aio import ServicerContext

SERVICE = "google.longrunning.Operations"


class OperationsServicer(pb_grpc.OperationsServicer):
    """Keeps operations."""

    async def GetOperation(
        self, request: pb.GetOperationRequest, context: ServicerContext[Any, Any]
    ) -> pb.Operation:
        raise later("GetOperation")

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListOperationsResponse:
        raise later("ListOperations")

    async def CancelOperation(
        self, request: pb.CancelOperationRequest, context: ServicerContext[Any, Any]
    ) -> empty_pb2.Empty:
        raise later("CancelOperation")

    async def DeleteOperation(
        self, request: pb.DeleteOperationRequest, context: ServicerContext[Any, Any]
    ) -> empty_pb2.Empty:
        raise later("DeleteOperation")

    async def WaitOperation(
        self, request: pb.WaitOperationRequest, context: ServicerContext[Any, Any]
    ) -> pb.Operation:
        raise later("WaitOperation")

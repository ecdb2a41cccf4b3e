"""What is asked about operations: work that goes on after its call was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty

from searchmesh import convert
from searchmesh.connection import Service
from searchmesh.rpc import Call, Page, Pages, Rpc

if TYPE_CHECKING:
    from searchmesh.results import Operation

_SERVICE = "google.longrunning.Operations"
_GET = Rpc(Service.SEARCH, f"/{_SERVICE}/GetOperation", operations_pb2.Operation)
_LIST = Rpc(Service.SEARCH, f"/{_SERVICE}/ListOperations", operations_pb2.ListOperationsResponse)
_CANCEL = Rpc(Service.SEARCH, f"/{_SERVICE}/CancelOperation", Empty)
_DELETE = Rpc(Service.SEARCH, f"/{_SERVICE}/DeleteOperation", Empty)

_TIMEOUT = 10.0


def get_operation(name: str, *, timeout: float | None = None) -> Call[Operation]:
    """Get an operation. Raises NotFound."""
    request = operations_pb2.GetOperationRequest(name=name)
    return Call(_GET, request, convert.operation_from, _TIMEOUT, timeout)


def list_operations(*, page_size: int = 100, timeout: float | None = None) -> Pages[Operation]:
    """Iterate over the operations that the service keeps, those that have ended too.

    page_size: operations fetched in one call, at most 1000. timeout: of each call.
    """

    def page(token: str) -> Call[Page[Operation]]:
        request = operations_pb2.ListOperationsRequest(
            name="operations", page_size=page_size, page_token=token
        )
        return Call(_LIST, request, _operations_from, _TIMEOUT, timeout)

    return Pages(page)


def cancel_operation(name: str, *, timeout: float | None = None) -> Call[None]:
    """Stop an operation; what it has done stays. One that has ended is left as it is.

    Raises NotFound.
    """
    request = operations_pb2.CancelOperationRequest(name=name)
    return Call(_CANCEL, request, _nothing_from, _TIMEOUT, timeout)


def delete_operation(name: str, *, timeout: float | None = None) -> Call[None]:
    """Forget an operation that has ended. Raises NotFound; FailedPrecondition while it runs."""
    request = operations_pb2.DeleteOperationRequest(name=name)
    return Call(_DELETE, request, _nothing_from, _TIMEOUT, timeout)


def _operations_from(response: operations_pb2.ListOperationsResponse) -> Page[Operation]:
    return Page(
        [convert.operation_from(operation) for operation in response.operations],
        response.next_page_token,
    )


def _nothing_from(_response: Empty) -> None:
    return None

"""Imports as google.longrunning.Operation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from google.longrunning import operations_pb2 as pb
from google.rpc import code_pb2, status_pb2

from searchmesh_common.errors import InvalidRequest
from searchmesh_search.convert.imports import metadata
from searchmesh_search.journal.import_rows import State

if TYPE_CHECKING:
    from searchmesh_search.imports.operations import ImportStatus, StatusPage

PREFIX = "operations/"
DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000

MOST_ANSWER_SECONDS = 1.0
"""Time that is left to answer a call that has waited."""

_NAME = re.compile(rf"{PREFIX}([A-Za-z0-9._:-]{{1,128}})")


def import_id(name: str) -> str:
    """The import that an operation's name stands for. Raises InvalidRequest for a faulty name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise InvalidRequest.of(
            "name", f"give {PREFIX} and 1 to 128 letters, digits and `._:-`, as an import answers"
        )
    return match[1]


def page_size(request: pb.ListOperationsRequest) -> int:
    """Raises InvalidRequest for what the list cannot do."""
    if request.name not in {"", PREFIX.removesuffix("/")}:
        raise InvalidRequest.of("name", "there is one list of operations; leave it empty")
    if request.filter:
        raise InvalidRequest.of("filter", "operations are not filtered; leave it empty")
    if not 0 <= request.page_size <= MAX_PAGE_SIZE:
        raise InvalidRequest.of(
            "page_size", f"{request.page_size} given, must be from 0 to {MAX_PAGE_SIZE}"
        )
    return request.page_size or DEFAULT_PAGE_SIZE


def wait_seconds(request: pb.WaitOperationRequest, remaining: float) -> float:
    """How long a call may wait that has so many seconds left: it must still be answered."""
    answering = min(MOST_ANSWER_SECONDS, remaining / 4)
    if not request.HasField("timeout"):
        return remaining - answering
    return min(request.timeout.ToNanoseconds() / 1e9, remaining - answering)


def message(status: ImportStatus) -> pb.Operation:
    row = status.row
    shown = metadata(status)
    operation = pb.Operation(name=PREFIX + row.id, done=row.has_ended)
    operation.metadata.Pack(shown)
    match row.state:
        case State.SUCCEEDED:
            operation.response.Pack(shown)
        case State.CANCELLED:
            operation.error.CopyFrom(_cancelled(status))
        case State.FAILED:
            operation.error.CopyFrom(shown.error)
    return operation


def page(page: StatusPage) -> pb.ListOperationsResponse:
    return pb.ListOperationsResponse(
        operations=[message(one) for one in page.statuses], next_page_token=page.next_page_token
    )


def _cancelled(status: ImportStatus) -> status_pb2.Status:
    stored = status.row.stored_count
    return status_pb2.Status(
        code=code_pb2.CANCELLED,
        message=f"the import was cancelled; {stored} documents were stored before, and stay",
    )

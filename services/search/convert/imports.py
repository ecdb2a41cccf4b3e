"""Messages of imports: what their streams bring, and how far they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2

from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh_common.errors import InvalidRequest
from searchmesh_search import write_tokens
from searchmesh_search.convert import documents as convert_documents
from searchmesh_search.convert.times import timestamp
from searchmesh_search.imports.receiver import ImportConfig
from searchmesh_search.journal.import_rows import State
from searchmesh_search.off_loop import off_loop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

    from google.protobuf.message import Message

    from searchmesh_search.imports.operations import FailurePage, ImportStatus
    from searchmesh_search.journal.import_rows import Failure

_STATES: Mapping[State, pb.ImportState.ValueType] = {
    State.RECEIVING: pb.IMPORT_STATE_RECEIVING,
    State.RUNNING: pb.IMPORT_STATE_RUNNING,
    State.SUCCEEDED: pb.IMPORT_STATE_SUCCEEDED,
    State.CANCELLED: pb.IMPORT_STATE_CANCELLED,
    State.FAILED: pb.IMPORT_STATE_FAILED,
}

MAX_DOCUMENTS = 1_000
"""Most documents in one message."""
_ITEMS_EACH = 4
"""What a document costs, in the items of `off_loop`."""


def config(
    first: pb.ImportDocumentsRequest | None, validate: Callable[[Message], None]
) -> ImportConfig:
    """What a stream is about, by its first message; None where it has none.

    Raises InvalidRequest.
    """
    if first is None or not first.HasField("config"):
        raise InvalidRequest.of("config", "required in the first message of the stream")
    if first.documents:
        raise InvalidRequest.of("documents", "come after the first message, which holds the config")
    validate(first)
    given = first.config
    return ImportConfig(given.collection, given.request_id, given.resume_from)


async def documents(
    messages: AsyncIterator[pb.ImportDocumentsRequest],
) -> AsyncGenerator[Sequence[bytes]]:
    """The documents of each message as they are stored. Raises InvalidRequest."""
    async for message in messages:
        yield await off_loop(len(message.documents) * _ITEMS_EACH, _stored, message)


def metadata(status: ImportStatus) -> pb.ImportMetadata:
    row = status.row
    message = pb.ImportMetadata(
        collection=row.collection_name,
        request_id=row.request_id,
        state=_STATES[row.state],
        received_count=row.received_count,
        encoded_count=row.encoded_count,
        stored_count=row.stored_count,
        searchable_count=row.searchable_count,
        failed_count=row.failed_count,
        failures=[_failure(one) for one in status.failures],
        documents_per_second=status.documents_per_second,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        write_token=write_tokens.encode(row.write_token) if row.write_token else "",
    )
    if status.seconds_left is not None:
        message.time_left.CopyFrom(_duration(status.seconds_left))
    if row.end_time is not None:
        message.end_time.CopyFrom(timestamp(row.end_time))
    if row.waiting_for is not None:
        message.waiting_for.ParseFromString(row.waiting_for)
    if row.error is not None:
        message.error.ParseFromString(row.error)
    return message


def failures_page(page: FailurePage) -> pb.ListImportFailuresResponse:
    return pb.ListImportFailuresResponse(
        failures=[_failure(one) for one in page.failures], next_page_token=page.next_page_token
    )


def _stored(message: pb.ImportDocumentsRequest) -> Sequence[bytes]:
    if message.HasField("config"):
        raise InvalidRequest.of("config", "comes in the first message of the stream alone")
    count = len(message.documents)
    if not 1 <= count <= MAX_DOCUMENTS:
        raise InvalidRequest.of(
            "documents", f"{count} given in one message, 1 to {MAX_DOCUMENTS} allowed"
        )
    return [convert_documents.stored(one) for one in message.documents]


def _failure(failure: Failure) -> pb.ImportFailure:
    return pb.ImportFailure(
        id=failure.document_id,
        position=failure.position,
        status=status_pb2.Status.FromString(failure.status),
    )


def _duration(seconds: float) -> Duration:
    message = Duration()
    message.FromMilliseconds(int(seconds * 1000))
    return message

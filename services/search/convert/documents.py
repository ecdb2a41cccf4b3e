"""Requests and responses of DocumentService.

What the content store keeps of a document is its message as the caller gave it, less what is output
only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from searchmesh.search.v1 import document_pb2
from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh.type.v1 import segment_pb2
from searchmesh_common import status
from searchmesh_common.errors import InvalidRequest, ServiceError
from searchmesh_search import write_tokens
from searchmesh_search.convert import values
from searchmesh_search.convert.times import timestamp
from searchmesh_search.document_checks import NewDocument
from searchmesh_search.segment_checks import GivenSegment
from searchmesh_search.segments import TextSpan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf import struct_pb2

    from searchmesh_search.documents import DocumentPage, StoredDocument
    from searchmesh_search.filters.filter import Value
    from searchmesh_search.segments import Segments
    from searchmesh_search.upsert_results import UpsertResult

MAX_ATTRIBUTES_BYTES = 1 << 20


def documents(request: pb.UpsertDocumentsRequest) -> list[NewDocument | ServiceError]:
    """The documents of an upsert; one that cannot be read is its own error."""
    return [_new(one, f"documents[{place}]") for place, one in enumerate(request.documents)]


def stored(message: document_pb2.Document) -> bytes:
    """A document as the content store keeps it: equal documents are equal bytes."""
    message.ClearField("update_time")
    return message.SerializeToString(deterministic=True)


def read_stored(stored: bytes, path: str) -> tuple[str, NewDocument | ServiceError]:
    """A document that was stored before it was looked at: its id, and itself or its fault.

    path: what its faults begin with.
    """
    message = document_pb2.Document.FromString(stored)
    return message.id, _new(message, path)


def read_attribute(stored: bytes, name: str) -> Value:
    """A declared attribute of a stored document that has it."""
    value: Value = _plain(document_pb2.Document.FromString(stored).attributes.fields[name])
    return value


def read_answer(stored: bytes, name: str) -> tuple[str, str] | None:
    """A stored document's text, empty where it is none, and the answer that an attribute holds;
    None where it holds no string, or an empty one.
    """
    message = document_pb2.Document.FromString(stored)
    answer = message.attributes.fields[name].string_value
    return (message.content.text, answer) if answer else None


def upsert_response(
    request: pb.UpsertDocumentsRequest, result: UpsertResult
) -> pb.UpsertDocumentsResponse:
    stored = sum(error is None for error in result.errors)
    return pb.UpsertDocumentsResponse(
        results=[
            pb.UpsertResult(
                id=document.id, status=None if error is None else status.to_proto(error)
            )
            for document, error in zip(request.documents, result.errors, strict=True)
        ],
        stored_count=stored,
        write_token=write_tokens.encode(result.write_token) if stored else "",
    )


def document(stored: StoredDocument) -> document_pb2.Document:
    """A document as it is answered: with vectors only where they were read."""
    message = document_pb2.Document.FromString(stored.stored)
    message.update_time.CopyFrom(timestamp(stored.update_time))
    message.ClearField("vector")
    message.ClearField("segment_vectors")
    if stored.segments is not None:
        _add_vectors(message, stored.segments)
    return message


def _add_vectors(message: document_pb2.Document, segments: Segments) -> None:
    if segments.spans is None:
        (vector,) = segments.vectors
        message.vector.CopyFrom(values.vector_message(vector))
        return
    for span, vector in zip(segments.spans, segments.vectors, strict=True):
        message.segment_vectors.add(
            segment=segment_pb2.Segment(text=segment_pb2.TextSpan(start=span.start, end=span.end)),
            vector=values.vector_message(vector),
        )


def page(page: DocumentPage) -> pb.ListDocumentsResponse:
    return pb.ListDocumentsResponse(
        documents=[document(one) for one in page.documents], next_page_token=page.next_page_token
    )


def export_response(documents: Sequence[StoredDocument]) -> pb.ExportDocumentsResponse:
    return pb.ExportDocumentsResponse(documents=[document(one) for one in documents])


def delete_response(deleted_count: int) -> pb.DeleteDocumentsResponse:
    return pb.DeleteDocumentsResponse(
        deleted_count=deleted_count,
        # the journal hides what is deleted from every read that follows; the engine has no say
        write_token=write_tokens.encode(b"") if deleted_count else "",
    )


def _new(message: document_pb2.Document, path: str) -> NewDocument | ServiceError:
    message.ClearField("update_time")
    attributes_bytes = message.attributes.ByteSize()
    if attributes_bytes > MAX_ATTRIBUTES_BYTES:
        return InvalidRequest.of(
            f"{path}.attributes",
            f"{attributes_bytes} bytes given, at most {MAX_ATTRIBUTES_BYTES} allowed",
        )
    try:
        vector = None
        if message.HasField("vector"):
            vector = values.vector(message.vector, f"{path}.vector")
        segments = [
            _given_segment(one, f"{path}.segment_vectors[{place}]")
            for place, one in enumerate(message.segment_vectors)
        ]
    except InvalidRequest as error:
        return error
    return NewDocument(
        id=message.id,
        # equal documents are equal bytes, so that a repeated request is known again
        stored=message.SerializeToString(deterministic=True),
        content=values.content(message.content),
        vector=vector,
        attributes=_object(message.attributes),
        segments=segments,
    )


def _given_segment(message: document_pb2.SegmentVector, path: str) -> GivenSegment:
    span = message.segment.text
    # the content has the passage, and a fault in it would be nobody's to find
    span.ClearField("text")
    return GivenSegment(
        TextSpan(span.start, span.end) if message.segment.HasField("text") else None,
        values.vector(message.vector, f"{path}.vector"),
    )


def _object(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A Struct as plain values: numbers are floats."""
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _object(value.struct_value)
        case "list_value":
            return [_plain(one) for one in value.list_value.values]
        case "null_value" | None:
            return None
        case kind:
            return getattr(value, kind)

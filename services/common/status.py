"""The one table between our errors and gRPC statuses, in both directions.

Needs only what a caller has installed, so that clients turn statuses back into the same family.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from searchmesh_common.errors import (
    Aborted,
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServiceError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from google.protobuf.message import Message

DOMAIN = "searchmesh"
"""The domain of every ErrorInfo."""

_DETAILS_KEY = "grpc-status-details-bin"

# Past 8 KiB of trailers gRPC replaces the whole status. The message travels twice, once percent
# encoded at up to three bytes for one, and the details as base64: 3 x 512 + 4/3 x 4,000 < 7 KiB.
_MOST_MESSAGE_BYTES = 512
_MOST_STATUS_BYTES = 4000
_MOST_FIELD_BYTES = 200
_MOST_DESCRIPTION_BYTES = 300
_MORE_RESERVE_BYTES = 128

CODES: Mapping[type[ServiceError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    Aborted: grpc.StatusCode.ABORTED,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    DataLoss: grpc.StatusCode.DATA_LOSS,
    Internal: grpc.StatusCode.INTERNAL,
}


def code_of(error: ServiceError) -> grpc.StatusCode:
    """The code of the nearest class in the table; INTERNAL where there is none."""
    for cls in type(error).__mro__:
        if cls in CODES:
            return CODES[cls]
    return grpc.StatusCode.INTERNAL


def to_proto(error: ServiceError) -> status_pb2.Status:
    """The status of an error with its details, for a reply's trailer or an item inside a reply.

    Violations that do not fit are counted in a last one, `and 297 more`.
    """
    code = code_of(error)
    status = status_pb2.Status(code=code.value[0], message=_cut(error.message, _MOST_MESSAGE_BYTES))
    for detail in _details(error):
        _attach(status, detail)
    if isinstance(error, InvalidRequest):
        _attach(status, _bad_request(error, _MOST_STATUS_BYTES - status.ByteSize()))
    return status


def trailing_metadata(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """How a status travels beside gRPC's own code and message."""
    return ((_DETAILS_KEY, status.SerializeToString()),)


def from_rpc_error(error: grpc.RpcError) -> ServiceError:
    """The error of our family that a failed call stands for, from an asyncio or a blocking call.

    Raise it `from error`. A message over the size limit, which gRPC refuses with a bare
    RESOURCE_EXHAUSTED, comes back as InvalidRequest: the same request never succeeds.
    """
    # both kinds of call offer code(), details() and trailing_metadata(); RpcError declares none
    call: Any = error
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            return from_proto(status_pb2.Status.FromString(value))
    message = call.details() or ""
    if call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:
        return InvalidRequest.of("", f"the message is too large: {message}")
    return from_proto(status_pb2.Status(code=call.code().value[0], message=message))


def from_proto(status: status_pb2.Status) -> ServiceError:
    """The error of our family that a status stands for; the inverse of `to_proto`."""
    build = _BUILDERS.get(status.code, _internal)
    return build(status.message, _Details(status))


def _cut(text: str, most_bytes: int) -> str:
    """Text of at most so many UTF-8 bytes; an ellipsis shows where it was cut."""
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    return encoded[: most_bytes - 3].decode(errors="ignore") + "…"


def _attach(status: status_pb2.Status, detail: Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _details(error: ServiceError) -> Iterator[Message]:
    """Everything but the violations, which take the room that is left."""
    match error:
        case NotFound() | AlreadyExists():
            yield error_details_pb2.ResourceInfo(
                resource_type=error.kind,
                resource_name=_cut(error.name, _MOST_DESCRIPTION_BYTES),
                description=_cut(error.message, _MOST_DESCRIPTION_BYTES),
            )
        case FailedPrecondition():
            yield error_details_pb2.ErrorInfo(
                reason=error.reason, domain=DOMAIN, metadata=_fitting(error.metadata)
            )
        case Overloaded() | Unavailable():
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
            yield error_details_pb2.RetryInfo(retry_delay=delay)


def _fitting(metadata: Mapping[str, str]) -> dict[str, str]:
    """As many entries as a status has room for."""
    room = _MOST_STATUS_BYTES - 2 * _MOST_MESSAGE_BYTES
    fitting = {}
    for key, value in metadata.items():
        cut = _cut(value, _MOST_DESCRIPTION_BYTES)
        room -= len(key.encode()) + len(cut.encode()) + 8
        if room < 0:
            break
        fitting[key] = cut
    return fitting


def _bad_request(error: InvalidRequest, room_bytes: int) -> error_details_pb2.BadRequest:
    detail = error_details_pb2.BadRequest()
    room_bytes -= _MORE_RESERVE_BYTES
    for index, violation in enumerate(error.violations):
        one = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(violation.field, _MOST_FIELD_BYTES),
            description=_cut(violation.description, _MOST_DESCRIPTION_BYTES),
        )
        room_bytes -= one.ByteSize() + 4
        if room_bytes < 0:
            _add_more(detail, len(error.violations) - index + error.omitted)
            return detail
        detail.field_violations.append(one)
    if error.omitted:
        _add_more(detail, error.omitted)
    return detail


def _add_more(detail: error_details_pb2.BadRequest, count: int) -> None:
    detail.field_violations.add(description=f"and {count} more")


class _Details:
    """The details of a status by type; a type that is missing reads as its empty message."""

    def __init__(self, status: status_pb2.Status) -> None:
        self.bad_request = error_details_pb2.BadRequest()
        self.resource = error_details_pb2.ResourceInfo()
        self.retry = error_details_pb2.RetryInfo()
        self.info = error_details_pb2.ErrorInfo()
        for packed in status.details:
            for known in (self.bad_request, self.resource, self.retry, self.info):
                if packed.TypeName() == known.DESCRIPTOR.full_name:
                    packed.Unpack(known)

    @property
    def retry_after_seconds(self) -> float:
        return self.retry.retry_delay.ToNanoseconds() / 1e9 or 1.0


def _invalid_request(message: str, details: _Details) -> ServiceError:
    violations = [
        FieldViolation(one.field, one.description) for one in details.bad_request.field_violations
    ]
    return InvalidRequest(*(violations or [FieldViolation("", message)]))


def _internal(message: str, _details: _Details) -> ServiceError:
    return Internal(message)


_BUILDERS: Mapping[int, Callable[[str, _Details], ServiceError]] = {
    code.value[0]: build
    for code, build in {
        grpc.StatusCode.INVALID_ARGUMENT: _invalid_request,
        grpc.StatusCode.OUT_OF_RANGE: _invalid_request,
        grpc.StatusCode.NOT_FOUND: lambda message, details: NotFound(
            details.resource.resource_type, details.resource.resource_name, message
        ),
        grpc.StatusCode.ALREADY_EXISTS: lambda message, details: AlreadyExists(
            details.resource.resource_type, details.resource.resource_name, message
        ),
        grpc.StatusCode.FAILED_PRECONDITION: lambda message, details: FailedPrecondition(
            details.info.reason, message, dict(details.info.metadata)
        ),
        grpc.StatusCode.ABORTED: lambda message, _: Aborted(message),
        grpc.StatusCode.RESOURCE_EXHAUSTED: lambda message, details: Overloaded(
            message, details.retry_after_seconds
        ),
        grpc.StatusCode.UNAVAILABLE: lambda message, details: Unavailable(
            message, details.retry_after_seconds
        ),
        # a server that stops cancels what is still in flight
        grpc.StatusCode.CANCELLED: lambda message, details: Unavailable(
            message, details.retry_after_seconds
        ),
        grpc.StatusCode.DEADLINE_EXCEEDED: lambda message, _: DeadlineExceeded(message),
        grpc.StatusCode.UNIMPLEMENTED: lambda message, _: Unsupported(message),
        grpc.StatusCode.UNAUTHENTICATED: lambda message, _: Unauthenticated(message),
        grpc.StatusCode.PERMISSION_DENIED: lambda message, _: Unauthenticated(message),
        grpc.StatusCode.DATA_LOSS: lambda message, _: DataLoss(message),
    }.items()
}

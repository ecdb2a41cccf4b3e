"""Every error that a call raises, and how a failed call becomes one.

All are `ServiceError`s with a `message` that says what to change; `InvalidRequest.violations` names
the fields at fault, `Overloaded` and `Unavailable` say after how many seconds to try again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import grpc

from searchmesh_common import status
from searchmesh_common.call_context import REQUEST_ID_KEY
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
    from collections.abc import Sequence

__all__ = [
    "Aborted",
    "AlreadyExists",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "Internal",
    "InvalidRequest",
    "NotFound",
    "Overloaded",
    "ServiceError",
    "Unauthenticated",
    "Unavailable",
    "Unreachable",
    "Unsupported",
    "of_call",
    "too_late",
]

# what grpc.aio makes of the status of a stream that ends while it is written to:
# https://github.com/grpc/grpc/issues/36066
_STATUS_LOST = "Internal error from Core"

_TOO_LARGE = re.compile(
    r"(?P<side>SERVER|CLIENT): (?P<did>Sent|Received) message larger than max"
    r" \((?P<size>\d+) vs\.? (?P<limit>\d+)\)"
)


class Unreachable(Unavailable):
    """Nothing answered at the service's address, or the connection or stream broke."""

    def __init__(self, message: str, address: str = "") -> None:
        """address: the service's, as the connection has it."""
        super().__init__(message)
        self.address = address


def of_call(error: grpc.RpcError, *, service: str, address: str, timeout: float) -> ServiceError:
    """The error that a failed call stands for; raise it `from error`.

    service: what the caller knows it as, for example `search`.
    timeout: seconds that the call was given.
    """
    # both kinds of call offer code(), details() and trailing_metadata(); RpcError declares none
    call: Any = error
    code, details = call.code(), call.details() or ""
    trailers = call.trailing_metadata() or ()
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and (sizes := _TOO_LARGE.search(details)):
        return _too_large(sizes, service)
    if details == _STATUS_LOST:
        return Unreachable(f"the {service} service at {address} ended the stream", address)
    if code is grpc.StatusCode.UNAVAILABLE and not _answered(trailers):
        return Unreachable(
            f"the {service} service at {address} cannot be reached: {_reason(details)}", address
        )
    translated = status.from_rpc_error(error)
    if isinstance(translated, DeadlineExceeded) and not _answered(trailers):
        return too_late(service, address, timeout)
    return translated


def too_late(service: str, address: str, timeout: float) -> DeadlineExceeded:
    """A call whose time is over."""
    return DeadlineExceeded(
        f"the {service} service at {address} did not answer within {timeout:g} s;"
        " give the call a longer timeout"
    )


def _answered(trailers: Sequence[tuple[str, str | bytes]]) -> bool:
    """Whether a server of ours set the status: it always names the request."""
    return any(key in (REQUEST_ID_KEY, "grpc-status-details-bin") for key, _ in trailers)


def _reason(details: str) -> str:
    """gRPC's account of a connection that failed, without the addresses it wraps around it."""
    return details.rpartition("last error: ")[2].removeprefix("UNKNOWN: ") or "the connection broke"


def _too_large(sizes: re.Match[str], service: str) -> InvalidRequest:
    size, limit = int(sizes["size"]), int(sizes["limit"])
    side = "server" if sizes["side"] == "SERVER" else "client"
    is_request = (sizes["side"], sizes["did"]) in {("CLIENT", "Sent"), ("SERVER", "Received")}
    message, remedy = (
        ("request", "send less in one call")
        if is_request
        else ("answer", "ask for less in one call")
    )
    return InvalidRequest.of(
        "",
        f"the {message} has {size:,} bytes and the {side}'s limit is {limit:,}"
        f" (max_message_bytes of the {service} {side}): {remedy}",
    )

"""Calls to one Milvus: its gRPC stub, with every failure turned into one of our errors."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import grpc

from searchmesh_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Overloaded,
    ServiceError,
    Unavailable,
)
from searchmesh_search.milvus_stubs import MilvusServiceStub

if TYPE_CHECKING:
    from searchmesh_search.deadline import Deadline

_NOT_READY_CODES = frozenset(
    {1, 2, 3, 12, 101, 103, 106, 202, 304, 305, 401, 501, 503, 505, 601, 602, 901, 902, 903, 905}
)
"""Milvus's own: the service not ready, unavailable, out of memory or of other resources; a
collection, a partition, a segment, replicas or a channel of it not loaded (yet); too few nodes, or
one that is gone. All heal when the server has started, or its nodes are back."""

_NOT_READY_REASONS = ("nodes not enough", "resource insufficient")
"""What servers say under the code of whatever is unexpected while their nodes are still coming."""

_RATE_LIMIT_CODES = frozenset({4, 8, 9, 49})
_COLLECTION_NOT_FOUND = 100

_RECONNECT_LEAST_MS = 20
_RECONNECT_MOST_MS = 100


def local_channel(address: str) -> grpc.aio.Channel:
    """To a process of ours that may die and come back: what fails is said at once, and the next
    attempt is soon. (The common factory's options are for peers across a network.)"""
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", _RECONNECT_LEAST_MS),
            ("grpc.min_reconnect_backoff_ms", _RECONNECT_LEAST_MS),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MOST_MS),
        ],
    )


class MilvusCalls:
    """Calls over one channel, which it closes."""

    def __init__(self, channel: grpc.aio.Channel, token: str = "") -> None:
        """token: user:password or an API key; empty where the engine asks for none."""
        self._channel = channel
        self._stub = MilvusServiceStub(self._channel)
        self._metadata = (
            (("authorization", base64.b64encode(token.encode()).decode()),) if token else ()
        )

    async def close(self) -> None:
        await self._channel.close()

    async def call(
        self,
        method: str,
        request: Any,
        deadline: Deadline,
        physical: str = "",
        *,
        wait_for_ready: bool = False,
    ) -> Any:
        """One unary call; its answer says that it succeeded.

        physical: the collection that it is about, for NotFound.
        """
        timeout = deadline.remaining()
        try:
            response = await getattr(self._stub, method)(
                request, timeout=timeout, metadata=self._metadata, wait_for_ready=wait_for_ready
            )
        except grpc.aio.AioRpcError as error:
            raise _of_transport(method, error) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # not this task was cancelled: the channel was closed under it
            raise Unavailable("the engine was closed during the call") from None
        _check(method, response, physical)
        return response


def _of_transport(method: str, error: grpc.aio.AioRpcError) -> ServiceError:
    said = f"{method}: {error.details() or error.code().name}"
    match error.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(f"the engine did not answer {method} in time")
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return Unavailable(f"the engine is away: {said}")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(f"the engine has no room: {said}")
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return FailedPrecondition("ENGINE_ACCESS_DENIED", f"the engine refuses us: {said}")
        case _:
            return ServiceError(f"the engine failed: {said}")


def _check(method: str, response: Any, physical: str) -> None:
    """Milvus's own status: inside the answer, or the answer itself. Servers before 2.3 know only
    `error_code`."""
    status = getattr(response, "status", response)
    code = status.code or status.error_code
    if code == 0:
        return
    said = f"{method}: {status.reason} (code {code})"
    if code == _COLLECTION_NOT_FOUND:
        raise NotFound("collection", physical, f"the engine has no collection {physical!r}")
    if code in _RATE_LIMIT_CODES:
        raise Overloaded(f"the engine limits us: {said}")
    if _heals(code, status):
        raise Unavailable(f"the engine is not ready: {said}")
    raise ServiceError(f"the engine refused: {said}")


def _heals(code: int, status: Any) -> bool:
    """Whether the same call may succeed later, with nothing changed but the server's state."""
    return (
        code in _NOT_READY_CODES
        or status.retriable
        or any(reason in status.reason for reason in _NOT_READY_REASONS)
    )

"""One call from first byte to status: context, admission, errors, metrics and its log line."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from searchmesh_common import call_context, status
from searchmesh_common.call_log import EndedCall
from searchmesh_common.errors import (
    DeadlineExceeded,
    Internal,
    InvalidRequest,
    ServiceError,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from google.protobuf.message import Message

    from searchmesh_common.call_context import CallContext
    from searchmesh_common.call_log import CallLog
    from searchmesh_common.metrics import MethodMetrics
    from searchmesh_common.open_calls import OpenCalls

# the caller's clock starts before the server's, so its cancellation may arrive this much early
_DEADLINE_SLACK_SECONDS = 0.02

_LOG_LEVELS = {
    grpc.StatusCode.INTERNAL: logging.ERROR,
    grpc.StatusCode.DATA_LOSS: logging.ERROR,
    grpc.StatusCode.UNKNOWN: logging.ERROR,
    grpc.StatusCode.UNAVAILABLE: logging.WARNING,
    grpc.StatusCode.RESOURCE_EXHAUSTED: logging.WARNING,
    grpc.StatusCode.DEADLINE_EXCEEDED: logging.WARNING,
}


@dataclass(frozen=True, slots=True)
class Rpc:
    """What is known of an rpc before any call to it."""

    method: str
    """`/package.Service/Method`."""

    parse: Callable[[bytes], Message]
    validate: Callable[[Message], None] | None
    """Raises InvalidRequest; None for the rpcs of libraries, which are not in the contract."""

    admit: Callable[[Iterable[tuple[str, str | bytes]]], None] | None
    """Raises Unauthenticated by the call's metadata; None where anyone may call."""

    default_deadline_seconds: float | None
    max_message_bytes: int
    """Largest message sent."""
    is_stream: bool
    open_calls: OpenCalls
    log: CallLog
    log_level: int
    """Level of the log line of a call that went well."""

    metrics: MethodMetrics


class Call:
    """Around one call: `async with Call(rpc, context) as call: …`.

    Whatever is raised inside becomes the call's status, and here is the only place where it does.
    Cancellation goes on as it came; a deadline that the server set ends the call as the caller's
    would.
    """

    __slots__ = (
        "_context",
        "_current",
        "_draining",
        "_metadata",
        "_rpc",
        "_started",
        "_task",
        "timeout",
    )

    def __init__(self, rpc: Rpc, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._started = time.perf_counter()
        self._rpc = rpc
        self._context = context
        self._draining = False
        self._task = asyncio.current_task() if rpc.is_stream else None
        # what grpc hands over is a tuple of pairs, whatever its annotation says
        self._metadata: Any = context.invocation_metadata() or ()
        allowed: float | None = context.time_remaining()
        self.timeout: asyncio.Timeout | None = None
        """Ends a call that brought no deadline; the caller's own is kept by grpc."""
        if allowed is None and rpc.default_deadline_seconds is not None:
            allowed = rpc.default_deadline_seconds
            self.timeout = asyncio.timeout(allowed)
        self._current = self._enter(None if allowed is None else time.monotonic() + allowed)

    def _enter(self, deadline: float | None) -> CallContext:
        current = call_context.from_metadata(self._metadata, deadline)
        call_context.enter(current)
        self._context.set_trailing_metadata(((call_context.REQUEST_ID_KEY, current.request_id),))
        return current

    def admit(self) -> None:
        """Raise Unauthenticated where the caller may not call."""
        if self._rpc.admit:
            self._rpc.admit(self._metadata)

    def parse(self, raw: bytes) -> Message:
        """A message of a stream, not validated: a faulty one is for the servicer to answer."""
        try:
            return self._rpc.parse(raw)
        except DecodeError as error:
            raise InvalidRequest.of(
                "", "the message is not what this rpc takes, or a text in it is not UTF-8"
            ) from error

    def request(self, raw: bytes) -> Message:
        """The one request of a call, validated."""
        message = self.parse(raw)
        if self._rpc.validate:
            self._rpc.validate(message)
        return message

    def end_for_draining(self) -> None:
        """End the call with UNAVAILABLE, so that its client opens it elsewhere."""
        self._draining = True
        if self._task:
            self._task.cancel()

    async def __aenter__(self) -> Call:
        self._rpc.metrics.started.inc()
        if self._current.repeated:
            self._rpc.metrics.repeated.inc()
        self._rpc.open_calls.begin(self, is_stream=self._rpc.is_stream)
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        raised: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        error = self._error(raised)
        code = status.code_of(error) if error else self._code(raised)
        self._rpc.open_calls.end(self)
        self._finish(code, error, raised if isinstance(error, Internal) else None)
        if error or raised is None:
            await self._rpc.open_calls.may_answer()
        if error:
            proto = status.to_proto(error)
            trailers = (*self._context.trailing_metadata(), *status.trailing_metadata(proto))
            await self._context.abort(code, proto.message, trailers)

    def _error(self, raised: BaseException | None) -> ServiceError | None:
        """What the caller is told; None where nobody listens or the status is set already."""
        match raised:
            case None | grpc.aio.AbortError():
                return None
            case ServiceError():
                return raised
            case asyncio.CancelledError() if self._draining:
                assert self._task
                self._task.uncancel()
                return Unavailable("this server is draining; open the stream again")
            case TimeoutError() if self.timeout and self.timeout.expired():
                seconds = self._rpc.default_deadline_seconds
                return DeadlineExceeded(f"no answer within the server's default of {seconds} s")
            case Exception():
                request_id = self._current.request_id
                return Internal(f"internal error; the server's log has it as request {request_id}")
            case _:
                return None

    def _code(self, raised: BaseException | None) -> grpc.StatusCode:
        """How a call ended that is not answered with an error of ours."""
        if raised is None or isinstance(raised, grpc.aio.AbortError):
            code: grpc.StatusCode | None = self._context.code()  # None until somebody sets it
            return code or grpc.StatusCode.OK
        remaining: float | None = self._context.time_remaining()
        if remaining is not None and remaining <= _DEADLINE_SLACK_SECONDS:
            return grpc.StatusCode.DEADLINE_EXCEEDED
        return grpc.StatusCode.CANCELLED

    def _finish(
        self, code: grpc.StatusCode, error: ServiceError | None, unexpected: BaseException | None
    ) -> None:
        seconds = time.perf_counter() - self._started
        self._rpc.metrics.finish(code, seconds)
        level = _LOG_LEVELS.get(code, self._rpc.log_level)
        if self._rpc.log.enabled_for(level):
            self._rpc.log.add(
                EndedCall(
                    level=level,
                    ended=time.time(),
                    method=self._rpc.method,
                    code=code,
                    seconds=seconds,
                    call=self._current,
                    peer=self._context.peer(),
                    error=error.message if error else None,
                    unexpected=unexpected,
                )
            )

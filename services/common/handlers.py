"""Around every call: the contract's rules, metrics, a log line, and errors as statuses.

It is put around each rpc's handler once. An interceptor of gRPC's would be run for every call, and
the methods that gRPC calls registered are all looked through for every call
(`_server_main_loop` waits for each of them), so there are none of either.
Servicers stay at translate, call the core, translate back; errors of the family they just raise.

- A call with one request reaches its servicer parsed with the contract's class and validated.
- A call with a stream of requests reaches its servicer with each parsed and none validated: a fault
  must not end the stream, so the servicer calls `Validator.validate` on each.
- `call_context.current()` tells the servicer and all below it who calls and how much time is left.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc

from searchmesh_common.call import Call, Rpc

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Mapping,
    )

    from google.protobuf.message import Message

    from searchmesh_common.call_log import CallLog
    from searchmesh_common.contract import Contract
    from searchmesh_common.metrics import CallMetrics
    from searchmesh_common.open_calls import OpenCalls
    from searchmesh_common.tokens import TokenCheck
    from searchmesh_common.validation import Validator

    Context = grpc.aio.ServicerContext[Any, Any]
    # typed only for the behaviours of blocking servers
    Handler = Any
    Behaviour = Callable[[Any, Context], Awaitable[Any]]

HEALTH_PREFIX = "/grpc.health."
"""Open to callers without a token: client-side health checks carry none."""

LIBRARY_PREFIX = "/grpc."
"""Health, reflection and channelz; their calls are logged only when debugging."""


class CallHandlers(grpc.GenericRpcHandler):
    """The server's only handler: finds an rpc, with its surroundings, by its name.

    Services are added to it as they are to a server, `add_…Servicer_to_server(servicer, handlers)`.
    """

    def __init__(
        self,
        contract: Contract,
        validator: Validator,
        metrics: CallMetrics,
        *,
        default_deadline_seconds: float,
        max_message_bytes: int,
        open_calls: OpenCalls,
        call_log: CallLog,
        tokens: TokenCheck | None = None,
    ) -> None:
        self._contract = contract
        self._validator = validator
        self._metrics = metrics
        self._default_deadline_seconds = default_deadline_seconds
        self._max_message_bytes = max_message_bytes
        self._open_calls = open_calls
        self._call_log = call_log
        self._tokens = tokens
        self._services: list[grpc.GenericRpcHandler] = []
        self._handlers: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Take in a service's rpcs."""
        self._services.extend(handlers)

    def add_registered_method_handlers(
        self, _service: str, _handlers: Mapping[str, Handler]
    ) -> None:
        """Leave the rpcs at what `add_generic_rpc_handlers` was given, which are the same."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of an rpc; None where there is no such rpc, which is counted."""
        method = handler_call_details.method
        known = self._handlers.get(method)
        if known:
            return known
        for service in self._services:
            handler = service.service(handler_call_details)
            if handler:
                self._handlers[method] = self._surround(method, handler)
                return self._handlers[method]
        self._metrics.unknown.started.inc()
        self._metrics.unknown.finish(grpc.StatusCode.UNIMPLEMENTED, 0.0)
        return None  # grpc answers UNIMPLEMENTED

    def _surround(self, method: str, handler: Handler) -> Handler:
        # messages arrive as bytes and are parsed inside the call, so that one that does not parse
        # is answered, counted and logged like any other fault
        rpc = self._rpc(method, handler)
        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                _streaming(rpc, handler.stream_stream, _messages),
                response_serializer=handler.response_serializer,
            )
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(
                _client_stream(rpc, handler.stream_unary),
                response_serializer=handler.response_serializer,
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                _streaming(rpc, handler.unary_stream, Call.request),
                response_serializer=handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            _unary(rpc, handler.unary_unary), response_serializer=handler.response_serializer
        )

    def _rpc(self, method: str, handler: Handler) -> Rpc:
        request_class = self._contract.request_class(method)
        is_library = method.startswith(LIBRARY_PREFIX)
        is_open = method.startswith(HEALTH_PREFIX) or self._tokens is None
        is_unary = not handler.request_streaming and not handler.response_streaming
        return Rpc(
            method=method,
            parse=handler.request_deserializer
            if is_library or request_class is None
            else request_class.FromString,
            validate=None if is_library else self._validator.validate,
            admit=None if is_open or self._tokens is None else self._tokens.check,
            default_deadline_seconds=self._default_deadline_seconds if is_unary else None,
            max_message_bytes=self._max_message_bytes,
            open_calls=self._open_calls,
            log=self._call_log,
            is_stream=not is_unary,
            log_level=logging.DEBUG if is_library else logging.INFO,
            metrics=self._metrics.method(_grpc_type(handler), method),
        )


def _unary(rpc: Rpc, inner: Behaviour) -> Behaviour:
    async def behaviour(raw: bytes, context: Context) -> Message:
        response: Message
        async with Call(rpc, context) as call:
            call.admit()
            if call.timeout is None:
                response = await inner(call.request(raw), context)
                return response
            async with call.timeout:
                response = await inner(call.request(raw), context)
                return response

    return behaviour


def _client_stream(rpc: Rpc, inner: Behaviour) -> Behaviour:
    async def behaviour(raw_messages: AsyncIterator[bytes], context: Context) -> Message:
        async with Call(rpc, context) as call:
            call.admit()
            async with aclosing(_whole_stream(call, raw_messages, context)) as messages:
                response: Message = await inner(messages, context)
            return response

    return behaviour


def _streaming(
    rpc: Rpc, inner: Callable[[Any, Context], Any], read: Callable[[Call, Any], Any]
) -> Behaviour:
    # a coroutine that writes, not a generator: a generator would not be told of cancellation
    # while grpc writes, and would be closed some time later from another task
    async def behaviour(raw: Any, context: Context) -> None:
        async with Call(rpc, context) as call:
            call.admit()
            async with aclosing(inner(read(call, raw), context)) as responses:
                async for response in responses:
                    await _write(rpc, context, response)

    return behaviour


async def _write(rpc: Rpc, context: Context, response: Message) -> None:
    try:
        await context.write(response)
    except grpc.aio.InternalError as error:
        if response.ByteSize() > rpc.max_message_bytes:
            raise
        # the caller went away with answers unread; the cancellation of this task is on its way
        raise asyncio.CancelledError from error


async def _whole_stream(
    call: Call, raw_messages: AsyncIterator[bytes], context: Context
) -> AsyncGenerator[Message]:
    """Ends only where the caller has ended the stream.

    For grpc a stream whose caller is gone may end just like one that was sent to its end, and the
    cancellation come later. Only to a caller that is there anything can be sent.
    """
    async for message in _messages(call, raw_messages):
        yield message
    try:
        await context.send_initial_metadata(())
    except grpc.aio.InternalError as error:
        raise asyncio.CancelledError from error


async def _messages(call: Call, raw_messages: AsyncIterator[bytes]) -> AsyncGenerator[Message]:
    async for raw in raw_messages:
        yield call.parse(raw)


def _grpc_type(handler: Handler) -> str:
    return {
        (False, False): "unary",
        (True, False): "client_stream",
        (False, True): "server_stream",
        (True, True): "bidi_stream",
    }[bool(handler.request_streaming), bool(handler.response_streaming)]

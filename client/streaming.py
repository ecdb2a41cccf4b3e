"""An exchange carried by a blocking stream, and by one of asyncio.

Batches are taken and answers given in one place; gRPC sends what is queued meanwhile, so that
neither side waits for the other to read.
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc

from searchmesh import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator

    from searchmesh.encoder.v1.encoder_service_pb2 import EncodeStreamRequest, EncodeStreamResponse
    from searchmesh.exchange import Exchange
    from searchmesh.results import StreamedResult


def answers(
    exchange: Exchange, open_stream: Callable[..., Any]
) -> Generator[StreamedResult, None, None]:
    """Each batch's result, as it is done. open_stream: the blocking channel's call."""
    batches = iter(exchange.stream.batches)
    opened: _Opened | None = None
    try:
        while True:
            yield from _take(exchange, batches)
            if exchange.is_settled:
                break
            try:
                opened = opened or _Opened(exchange, open_stream)
                response = opened.next_response()
            except grpc.RpcError as error:
                _close(opened)
                opened = None
                time.sleep(exchange.broke(error))
                continue
            answer = exchange.settle(response)
            if isinstance(answer, float):
                time.sleep(answer)
            else:
                yield answer
        if opened:
            opened.finish()
    finally:
        _close(opened)


async def answers_async(
    exchange: Exchange, open_stream: Callable[..., Any]
) -> AsyncGenerator[StreamedResult, None]:
    """Each batch's result, as it is done. open_stream: the asyncio channel's call."""
    batches = iter(exchange.stream.batches)
    opened: _AsyncOpened | None = None
    try:
        while True:
            for failed in _take(exchange, batches):
                yield failed
            if exchange.is_settled:
                break
            try:
                opened = opened or _AsyncOpened(exchange, open_stream)
                response = await opened.next_response()
            except grpc.RpcError as error:
                _close(opened)
                opened = None
                await asyncio.sleep(exchange.broke(error))
                continue
            answer = exchange.settle(response)
            if isinstance(answer, float):
                await asyncio.sleep(answer)
            else:
                yield answer
        if opened:
            await opened.finish()
    finally:
        _close(opened)


def _take(exchange: Exchange, batches: Iterator[Any]) -> Iterator[StreamedResult]:
    """Take batches while there is room; yields the errors of those that cannot be sent."""
    while exchange.has_room:
        batch = next(batches, None)
        if batch is None:
            return
        failed = exchange.take(batch)
        if failed:
            yield failed


def _close(opened: _Opened | _AsyncOpened | None) -> None:
    if opened:
        opened.close()


class _Opened:
    """One opening of a blocking stream; gRPC takes what is to be sent from a queue."""

    def __init__(self, exchange: Exchange, open_stream: Callable[..., Any]) -> None:
        self._exchange = exchange
        self._queue: queue.SimpleQueue[EncodeStreamRequest | None] = queue.SimpleQueue()
        self._call = open_stream(iter(self._queue.get, None), **exchange.opening())

    def next_response(self) -> EncodeStreamResponse:
        """Send what is to be sent, and wait. Raises grpc.RpcError."""
        while self._exchange.to_send:
            self._queue.put(self._exchange.to_send.popleft())
        response: EncodeStreamResponse | None = next(self._call, None)
        return _given(response)

    def finish(self) -> None:
        """Say that nothing more comes, and let the server end the stream."""
        self._queue.put(None)
        with suppress(grpc.RpcError):  # all is answered
            deque(self._call, maxlen=0)

    def close(self) -> None:
        self._queue.put(None)
        self._call.cancel()


class _AsyncOpened:
    """One opening of a stream of asyncio."""

    def __init__(self, exchange: Exchange, open_stream: Callable[..., Any]) -> None:
        self._exchange = exchange
        self._queue: asyncio.Queue[EncodeStreamRequest | None] = asyncio.Queue()
        self._call = open_stream(self._requests(), **exchange.opening())

    async def next_response(self) -> EncodeStreamResponse:
        """Send what is to be sent, and wait. Raises grpc.RpcError."""
        while self._exchange.to_send:
            self._queue.put_nowait(self._exchange.to_send.popleft())
        response: EncodeStreamResponse | None = await anext(aiter(self._call), None)
        return _given(response)

    async def finish(self) -> None:
        """Say that nothing more comes, and let the server end the stream."""
        self._queue.put_nowait(None)
        with suppress(grpc.RpcError):  # all is answered
            async for _ in self._call:
                pass

    def close(self) -> None:
        self._queue.put_nowait(None)
        self._call.cancel()

    async def _requests(self) -> AsyncIterator[EncodeStreamRequest]:
        while (request := await self._queue.get()) is not None:
            yield request


def _given(response: EncodeStreamResponse | None) -> EncodeStreamResponse:
    if response is None:
        raise errors.Internal("the encoder ended the stream and left batches unanswered")
    return response

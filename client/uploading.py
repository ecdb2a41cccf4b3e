"""An upload carried by a blocking stream, and by one of asyncio.

Documents are taken in one place; gRPC sends what is queued meanwhile, at the pace of the service.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import grpc

from searchmesh import convert, errors
from searchmesh.uploads import ASK_SECONDS, CutError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from searchmesh.results import Operation
    from searchmesh.search.v1.document_service_pb2 import ImportDocumentsRequest
    from searchmesh.uploads import Upload

_FIRST_PAUSE_SECONDS = 0.02
"""Between two questions while the window is full."""

# the stream itself says whether it is at an end; these only mean that its count is not known now
_NOT_KNOWN = (errors.Unavailable, errors.Overloaded, errors.DeadlineExceeded)


def upload_all(upload: Upload, open_stream: Any, ask: Callable[[], Operation | None]) -> Operation:
    """Send all of it; returns the operation.

    open_stream: the blocking channel's call. ask: the operation as it is; None where there is none.
    """
    try:
        return _send(upload, open_stream, ask)
    except CutError as cut:
        error = cut.error
    while True:
        time.sleep(upload.openings.pause_after(error))
        try:
            upload.release(_asked(ask))
            return _send(upload, open_stream, ask)
        except CutError as cut:
            error = cut.error


def _asked(ask: Callable[[], Operation | None]) -> Operation | None:
    try:
        return ask()
    except errors.ServiceError as error:
        raise CutError(error) from error


def _send(upload: Upload, open_stream: Any, ask: Callable[[], Operation | None]) -> Operation:
    """One opening of the stream. Raises CutError."""
    with closing(_Opened(upload, open_stream)) as opened:
        while not opened.has_ended and (message := upload.take()):
            opened.send(message)
            if upload.is_due:
                _refresh(upload, ask)
            _wait_for_room(upload, opened, ask)
        opened.send_end()
        while not opened.wait(ASK_SECONDS):
            _refresh(upload, ask)
        return upload.checked(opened.answer())


def _wait_for_room(upload: Upload, opened: _Opened, ask: Callable[[], Operation | None]) -> None:
    pause = _FIRST_PAUSE_SECONDS
    while upload.is_full and not opened.wait(pause):
        _refresh(upload, ask)
        pause = min(2 * pause, ASK_SECONDS)


def _refresh(upload: Upload, ask: Callable[[], Operation | None]) -> None:
    upload.asked()
    try:
        operation = ask()
    except _NOT_KNOWN:
        return
    upload.release(operation)


class _Opened:
    """One opening of a blocking stream; gRPC takes what is to be sent from a queue."""

    def __init__(self, upload: Upload, open_stream: Any) -> None:
        self._upload = upload
        self._ended = threading.Event()
        self._queue: queue.SimpleQueue[ImportDocumentsRequest | None] = queue.SimpleQueue()
        for message in upload.opening():
            self._queue.put(message)
        self._call = open_stream.future(iter(self._queue.get, None), **upload.openings.begin())
        self._call.add_done_callback(lambda _call: self._ended.set())

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    def send(self, message: ImportDocumentsRequest) -> None:
        self._queue.put(message)

    def send_end(self) -> None:
        self._queue.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait for the stream's end for so long; returns whether it has come."""
        return self._ended.wait(seconds)

    def answer(self) -> Operation:
        """What the stream was answered. Raises CutError."""
        try:
            return convert.operation_from(self._call.result())
        except grpc.RpcError as error:
            raise CutError(self._upload.openings.translated(error)) from error

    def close(self) -> None:
        self._queue.put(None)
        self._call.cancel()


async def upload_all_async(
    upload: Upload,
    open_stream: Any,
    ask: Callable[[], Awaitable[Operation | None]],
) -> Operation:
    """As `upload_all`, with the asyncio channel's call."""
    try:
        return await _send_async(upload, open_stream, ask)
    except CutError as cut:
        error = cut.error
    while True:
        await asyncio.sleep(upload.openings.pause_after(error))
        try:
            upload.release(await _asked_async(ask))
            return await _send_async(upload, open_stream, ask)
        except CutError as cut:
            error = cut.error


async def _asked_async(ask: Callable[[], Awaitable[Operation | None]]) -> Operation | None:
    try:
        return await ask()
    except errors.ServiceError as error:
        raise CutError(error) from error


async def _send_async(
    upload: Upload,
    open_stream: Any,
    ask: Callable[[], Awaitable[Operation | None]],
) -> Operation:
    async with aclosing(_AsyncOpened(upload, open_stream)) as opened:
        while not opened.has_ended and (message := upload.take()):
            await opened.send(message)
            if upload.is_due:
                await _refresh_async(upload, ask)
            await _wait_for_room_async(upload, opened, ask)
        opened.send_end()
        while not await opened.wait(ASK_SECONDS):
            await _refresh_async(upload, ask)
        return upload.checked(opened.answer())


async def _wait_for_room_async(
    upload: Upload, opened: _AsyncOpened, ask: Callable[[], Awaitable[Operation | None]]
) -> None:
    pause = _FIRST_PAUSE_SECONDS
    while upload.is_full and not await opened.wait(pause):
        await _refresh_async(upload, ask)
        pause = min(2 * pause, ASK_SECONDS)


async def _refresh_async(upload: Upload, ask: Callable[[], Awaitable[Operation | None]]) -> None:
    upload.asked()
    try:
        operation = await ask()
    except _NOT_KNOWN:
        return
    upload.release(operation)


class _AsyncOpened:
    """One opening of a stream of asyncio."""

    def __init__(self, upload: Upload, open_stream: Any) -> None:
        self._upload = upload
        self._queue: asyncio.Queue[ImportDocumentsRequest | None] = asyncio.Queue()
        for message in upload.opening():
            self._queue.put_nowait(message)
        self._call = open_stream(self._requests(), **upload.openings.begin())
        self._outcome = asyncio.ensure_future(self._await_outcome())

    @property
    def has_ended(self) -> bool:
        return self._outcome.done()

    async def send(self, message: ImportDocumentsRequest) -> None:
        """Queue it, and let what is queued be sent."""
        self._queue.put_nowait(message)
        await asyncio.sleep(0)

    def send_end(self) -> None:
        self._queue.put_nowait(None)

    async def wait(self, seconds: float) -> bool:
        """Wait for the stream's end for so long; returns whether it has come."""
        await asyncio.wait({self._outcome}, timeout=seconds)
        return self._outcome.done()

    def answer(self) -> Operation:
        """What the stream was answered. Raises CutError."""
        outcome = self._outcome.result()
        if isinstance(outcome, grpc.RpcError):
            raise CutError(self._upload.openings.translated(outcome)) from outcome
        return outcome

    async def aclose(self) -> None:
        self._queue.put_nowait(None)
        self._call.cancel()
        await asyncio.wait({self._outcome})

    async def _await_outcome(self) -> Operation | grpc.RpcError:
        try:
            return convert.operation_from(await self._call)
        except grpc.RpcError as error:
            return error

    async def _requests(self) -> AsyncIterator[ImportDocumentsRequest]:
        while (request := await self._queue.get()) is not None:
            yield request

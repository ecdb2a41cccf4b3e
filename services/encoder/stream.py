"""One bidirectional stream: requests are worked on side by side and answered as they are done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh_common.errors import ServiceError, Unavailable
from searchmesh_common.status import to_proto

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable


class EncodeStream:
    """Reads no further than it can answer, so that a caller who does not read stops being read."""

    def __init__(
        self,
        answer: Callable[[pb.EncodeStreamRequest], Awaitable[pb.EncodeStreamResponse]],
        draining: asyncio.Event,
        most_at_once: int,
    ) -> None:
        """answer: what it raises of our error family is that request's answer.

        draining: when it is set, what was read is answered and the stream ends.
        most_at_once: requests that are read and not yet taken as answered.
        """
        self._answer = answer
        self._draining = draining
        self._slots = asyncio.Semaphore(most_at_once)
        self._answered: asyncio.Queue[pb.EncodeStreamResponse | None] = asyncio.Queue()

    async def responses(
        self, requests: AsyncIterator[pb.EncodeStreamRequest]
    ) -> AsyncGenerator[pb.EncodeStreamResponse]:
        """An answer for each request, as it is done, until the caller has no more requests.

        Raises Unavailable where we drain; to be closed by the task that iterates.
        """
        working = asyncio.create_task(self._work(requests))
        working.add_done_callback(lambda _: self._answered.put_nowait(None))
        try:
            while (response := await self._answered.get()) is not None:
                yield response
                self._slots.release()
            await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _work(self, requests: AsyncIterator[pb.EncodeStreamRequest]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(requests, group))
                stopping = group.create_task(self._draining.wait())
                await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
                reading.cancel()
                stopping.cancel()
        except ExceptionGroup as errors:
            # the first is what ended the stream, and its status is the stream's
            raise errors.exceptions[0] from errors
        if reading.cancelled():
            raise Unavailable("this server is draining; open the stream again")

    async def _read(
        self, requests: AsyncIterator[pb.EncodeStreamRequest], group: asyncio.TaskGroup
    ) -> None:
        await self._slots.acquire()
        async for request in requests:
            group.create_task(self._serve(request))
            await self._slots.acquire()

    async def _serve(self, request: pb.EncodeStreamRequest) -> None:
        try:
            response = await self._answer(request)
        except ServiceError as error:
            response = pb.EncodeStreamResponse(id=request.id, error=to_proto(error))
        self._answered.put_nowait(response)

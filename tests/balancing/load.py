"""Callers of a mesh who never pause and look at every answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from searchmesh import AsyncClient, Connection, Document, RetryPolicy
from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from searchmesh_common.channels import Target, aio_channel
from searchmesh_common.errors import FailedPrecondition
from searchmesh_encoder.servicer import SERVICE
from searchmesh_search.encoder_client import FINGERPRINT_MISMATCH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

SEARCH, LARGE, STREAM = "search", "large", "stream"
"""What callers do: searches, encodes of more than 2 MiB, and streams of batches."""

_COLLECTION = "notes"
_TEXTS = tuple(f"text {number}" for number in range(20))
_LARGE = tuple(letter * 700_000 for letter in "abc")
_CALL_SECONDS = 20.0
_UNTIL_SECONDS = 60.0


class Load:
    """Calls whose right answers were learnt before."""

    def __init__(self, searching: AsyncClient, streaming: AsyncClient, encoder: Any) -> None:
        """searching: repeats nothing, so that what the mesh fails is seen. streaming: opens its
        streams again. encoder: a stub on a channel like the search service's.
        """
        self.answered: Counter[str] = Counter()
        self._searching = searching
        self._streaming = streaming
        self._encoder = encoder
        self._going = False
        self._hits: dict[str, list[tuple[str, float]]] = {}
        self._texts = np.empty(())
        self._large = np.empty(())

    async def learn(self) -> None:
        """Store documents, and see how searches for them and their vectors come out."""
        await self._searching.create_collection(_COLLECTION, model="tiny")
        documents = [Document(text, text) for text in _TEXTS]
        await self._searching.upsert(_COLLECTION, documents)
        self._hits = {text: await self._search(text) for text in _TEXTS}
        self._texts = await self._encode(_TEXTS)
        self._large = await self._encode(_LARGE)

    @asynccontextmanager
    async def going(
        self, *, searches: int = 0, large: int = 0, streams: int = 0
    ) -> AsyncIterator[None]:
        """While so many callers of each kind call; a call that fails ends the block with it."""
        self._going = True
        async with asyncio.TaskGroup() as callers:
            for _ in range(searches):
                callers.create_task(self._keep_searching())
            for _ in range(large):
                callers.create_task(self._keep_encoding())
            for _ in range(streams):
                callers.create_task(self._keep_streaming())
            try:
                yield
            finally:
                self._going = False

    async def refused(self, searches: int, callers: int) -> int:
        """How many of so many searches are refused for their model's fingerprint; all others are
        answered rightly."""
        texts = itertools.islice(itertools.cycle(_TEXTS), searches)
        counts = await asyncio.gather(*(self._refused(texts) for _ in range(callers)))
        return sum(counts)

    async def until(self, count: int, *kinds: str) -> None:
        """Until so many more calls of each kind are answered."""
        wanted = {kind: self.answered[kind] + count for kind in kinds}
        await wait_until(
            lambda: all(self.answered[kind] >= most for kind, most in wanted.items()),
            f"{count} answers to {kinds}",
        )

    async def _keep_searching(self) -> None:
        for text in itertools.cycle(_TEXTS):
            if not self._going:
                return
            assert await self._search(text) == self._hits[text]
            self.answered[SEARCH] += 1

    async def _refused(self, texts: Iterator[str]) -> int:
        count = 0
        for text in texts:
            try:
                assert await self._search(text) == self._hits[text]
            except FailedPrecondition as error:
                if error.reason != FINGERPRINT_MISMATCH:
                    raise
                count += 1
        return count

    async def _keep_encoding(self) -> None:
        while self._going:
            np.testing.assert_array_equal(await self._encode(_LARGE), self._large)
            self.answered[LARGE] += 1

    async def _keep_streaming(self) -> None:
        batches = iter(lambda: _TEXTS if self._going else None, None)
        async for answer in self._streaming.encode_stream("tiny", batches, in_flight=2):
            if answer.error:
                raise answer.error
            assert answer.result
            np.testing.assert_array_equal(answer.result.vectors, self._texts)
            self.answered[STREAM] += 1

    async def _search(self, text: str) -> list[tuple[str, float]]:
        result = await self._searching.search(_COLLECTION, text)
        return [(hit.id, hit.score) for hit in result]

    async def _encode(self, texts: Sequence[str]) -> np.ndarray:
        request = pb.EncodeRequest(model="tiny", on_too_long=pb.ON_TOO_LONG_TRUNCATE)
        for text in texts:
            request.contents.add(text=text)
        response = await self._encoder.Encode(request, timeout=_CALL_SECONDS)
        vectors = [np.frombuffer(one.vector.float32_le, "<f4") for one in response.embeddings]
        return np.stack(vectors)


@asynccontextmanager
async def loading(encoders: str, search: str) -> AsyncIterator[Load]:
    """Callers of encoders at a target, and of a search service that calls the same."""
    once = RetryPolicy(most_attempts=1)
    connection = Connection(encoder=encoders, search=search, timeout=_CALL_SECONDS)
    target = Target(encoders, health_service=SERVICE)
    async with (
        AsyncClient(replace(connection, retries=once)) as searching,
        AsyncClient(connection) as streaming,
        aio_channel(target) as channel,
    ):
        load = Load(searching, streaming, pb_grpc.EncoderServiceStub(channel))
        await load.learn()
        yield load


async def wait_until(
    condition: Callable[[], bool], what: str, seconds: float = _UNTIL_SECONDS
) -> float:
    """Look until the condition holds; returns the seconds it took, and fails the test after more
    than it may."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.02)
    return time.monotonic() - began

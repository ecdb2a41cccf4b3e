"""An encoder without a server around it, and models that a test can hold back."""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import CollectorRegistry

from searchmesh_common import call_context
from searchmesh_common.errors import Internal, InvalidRequest
from searchmesh_encoder.content import Content
from searchmesh_encoder.encoder import EncodeCall
from searchmesh_encoder.metrics import EncoderMetrics
from searchmesh_encoder.models.card import Modality
from searchmesh_encoder.prepared import Part, Prepared, Segmentation, TextSpan
from searchmesh_encoder.registry import ModelRegistry, State
from searchmesh_encoder.server import build_encoder
from searchmesh_encoder.settings import EncoderSettings
from searchmesh_encoder.tallies import OUTCOMES
from searchmesh_encoder.work import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from searchmesh_common.errors import ServiceError
    from searchmesh_encoder.encoder import Encoder
    from searchmesh_encoder.prepared import PrepareOptions
    from searchmesh_encoder.registry import KnownModel

ONE_AT_A_TIME: dict[str, Any] = {
    "workers": 1,
    "batch_tokens": 1,
    "cache_bytes": 0,
    "coalesce": False,
}
"""Settings under which every content is a batch of its own."""


class Served:
    """An encoder and what it counted."""

    def __init__(self, encoder: Encoder, prometheus: CollectorRegistry) -> None:
        self.encoder = encoder
        self._prometheus = prometheus

    async def outcomes(self, *texts: str, caller: str = "", **changes: Any) -> list[Any]:
        # each call is a task of its own, as in a server
        context = call_context.CallContext("test", caller, None)
        call_context.enter(context)
        encoded = await self.encoder.encode(call(*texts, **changes))
        return [one.outcome for one in encoded.embeddings]

    def start(self, *texts: str, **changes: Any) -> asyncio.Task[list[Any]]:
        return asyncio.create_task(self.outcomes(*texts, **changes))

    def counted(self, name: str, **labels: str) -> float:
        labels = {"model": "tiny", "lane": "query", **labels}
        return self._prometheus.get_sample_value(name, labels) or 0.0

    def gauge(self, name: str, lane: str = "query", **labels: str) -> float:
        value = self._prometheus.get_sample_value(name, {"lane": lane, **labels})
        assert value is not None
        return value

    def contents_ended(self) -> float:
        """Contents of which one outcome or another was counted."""
        labels = itertools.product((lane.value for lane in Lane), OUTCOMES)
        return sum(
            self.counted("encoder_contents_total", lane=lane, outcome=outcome)
            for lane, outcome in labels
        )

    def assert_nothing_is_left(self) -> None:
        """Of calls that have ended, in any count that admission or metrics keep."""
        for lane in Lane:
            for name in ("encoder_pending_bytes", "encoder_queue_tokens"):
                assert self.gauge(name, lane.value) == 0
            assert self.counted("encoder_in_flight", lane=lane.value) == 0
            assert not self.encoder._admission._rooms[lane].tokens
        assert not self.encoder._in_flight._by_key
        assert not self.encoder._in_flight._to_compute

    async def until(self, name: str, value: float, lane: str = "query") -> None:
        """Wait until a lane's gauge has a value."""
        async with asyncio.timeout(10):
            while self.gauge(name, lane) != value:  # noqa: ASYNC110 - what a scrape sees
                await asyncio.sleep(0.001)


class StubModel:
    """A vector of a text is its length and the sum of its bytes; its segments are its words.

    A text is as long as it has characters. One with `!` fails the whole batch that it is in.
    """

    name = "tiny"
    fingerprint = "stub"
    card: Any = SimpleNamespace(name="tiny", dimension=2, window=1_000_000, dimensions=(1,))

    def __init__(self) -> None:
        self.read: list[str] = []
        self.computed: list[str] = []
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()
        self._open.set()
        self._readable = threading.Event()
        self._readable.set()

    def hold_reading(self) -> None:
        self._readable.clear()

    def hold(self) -> None:
        self.entered = threading.Semaphore(0)
        self._open.clear()

    def release(self) -> None:
        self._readable.set()
        self._open.set()

    async def wait_entered(self) -> None:
        """Until a worker is held."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=10)

    def prepare(self, content: Content, options: PrepareOptions) -> Prepared[np.ndarray]:
        assert self._readable.wait(10)
        text = content.data
        assert isinstance(text, str)
        self.read.append(text)
        if not text:
            raise InvalidRequest.of("text", "empty")
        parts = [Part(_payload(text), len(text))]
        if options.segmentation is Segmentation.SEGMENTS:
            parts = [
                Part(_payload(word), len(word), TextSpan(start, start + len(word), word))
                for start, word in _words(text)
            ]
        return Prepared(parts, len(text), len(text), truncated=False)

    def padded_length(self, longest: int) -> int:
        return longest

    def run(self, payloads: Sequence[np.ndarray]) -> list[np.ndarray | ServiceError]:
        texts = [payload.tobytes().decode() for payload in payloads]
        self.computed += texts
        self.entered.release()
        assert self._open.wait(10)
        if any("!" in text for text in texts):
            raise Internal("one of them cannot be computed")
        return [np.array([len(one), one.sum()], np.float32) for one in payloads]


def call(*texts: str, **changes: Any) -> EncodeCall:
    """A call to the model of the test."""
    contents = [Content(Modality.TEXT, text) for text in texts]
    return EncodeCall(**{"model": "tiny", "contents": contents, **changes})


@asynccontextmanager
async def serving(model: Any, **changes: Any) -> AsyncIterator[Served]:
    """An encoder of one model, which goes by the name of `tiny`."""
    prometheus = CollectorRegistry()
    ready = asyncio.Event()

    def on_change(known: KnownModel) -> None:
        if known.state is State.READY:
            ready.set()

    arguments = {"workers": 2, "batch_tokens": 64, "queue_tokens": 4096, **changes}
    settings = EncoderSettings(**arguments)
    registry = ModelRegistry({"tiny": model.card}, ["tiny"], lambda *_: model, on_change)
    metrics = EncoderMetrics(prometheus)
    async with build_encoder(settings, registry, metrics) as encoder, registry:
        await ready.wait()
        try:
            yield Served(encoder, prometheus)
        finally:
            # a test that fails must not wait for what it holds
            if isinstance(model, StubModel):
                model.release()


def _payload(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def _words(text: str) -> list[tuple[int, str]]:
    words = []
    start = 0
    for word in text.split(" "):
        words.append((start, word))
        start += len(word) + 1
    return words

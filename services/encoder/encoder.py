"""Encoder: contents to embeddings, the whole story."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from searchmesh_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    ServiceError,
    Unsupported,
)
from searchmesh_encoder.embedding import Embedding, SegmentVector
from searchmesh_encoder.prepared import PrepareOptions
from searchmesh_encoder.work import Done, Item, Lane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from searchmesh_encoder.content import Content
    from searchmesh_encoder.metrics import EncoderMetrics
    from searchmesh_encoder.prepared import Prepared
    from searchmesh_encoder.registry import ModelRegistry
    from searchmesh_encoder.scheduler import Scheduler
    from searchmesh_encoder.text_model import TextModel

_GROUP_UNITS = 65_536
"""Characters or bytes that are preprocessed in one go: other requests get the thread in between."""


@dataclass(frozen=True, slots=True)
class EncodeCall:
    """What one call asks for."""

    model: str
    contents: Sequence[Content]
    lane: Lane = Lane.QUERY
    options: PrepareOptions = field(default_factory=PrepareOptions)
    dimensions: int = 0
    """Components to keep; 0 for all."""
    fingerprint: str = ""
    """The fingerprint that the model must have; empty for any."""
    deadline: float | None = None
    """On the clock of time.monotonic."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The answer of a call."""

    model: TextModel
    embeddings: Sequence[Embedding]
    """One for each content, in order."""
    preprocess_seconds: float
    queue_seconds: float
    """Of the content that waited longest."""
    compute_seconds: float
    """Of the batch that took longest."""
    total_seconds: float


class Encoder:
    """Contents to embeddings; `async with` gives it its threads."""

    def __init__(
        self,
        registry: ModelRegistry,
        scheduler: Scheduler,
        metrics: EncoderMetrics,
        preprocess_threads: int,
    ) -> None:
        self._registry = registry
        self._scheduler = scheduler
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(preprocess_threads, thread_name_prefix="preprocess")

    async def __aenter__(self) -> Encoder:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def encode(self, call: EncodeCall) -> Encoded:
        """Encode contents with one model; a content that cannot be encoded fails alone.

        Raises NotFound, Unavailable, FailedPrecondition (WRONG_FINGERPRINT), Unsupported,
        Overloaded or DeadlineExceeded for the call as a whole.
        """
        started = time.perf_counter()
        model = self._registry.ready(call.model)
        _check(model, call)
        prepared = await self._prepare(model, call)
        preprocessed = time.perf_counter()
        computed = await self._compute(model, call, prepared)
        embeddings = [_embedding(*pair) for pair in zip(prepared, computed, strict=True)]
        done = [part for one in computed for part in one if isinstance(part, Done)]
        encoded = Encoded(
            model=model,
            embeddings=embeddings,
            preprocess_seconds=preprocessed - started,
            queue_seconds=max((one.queue_seconds for one in done), default=0.0),
            compute_seconds=max((one.compute_seconds for one in done), default=0.0),
            total_seconds=time.perf_counter() - started,
        )
        self._metrics.encoded(call.lane, encoded)
        return encoded

    async def _prepare(
        self, model: TextModel, call: EncodeCall
    ) -> Sequence[Prepared[np.ndarray] | ServiceError]:
        """Each content as the graph reads it, or what is wrong with it."""

        def prepare(group: Sequence[Content]) -> list[Prepared[np.ndarray] | ServiceError]:
            return [_prepared(model, content, call) for content in group]

        loop = asyncio.get_running_loop()
        prepared: list[Prepared[np.ndarray] | ServiceError] = []
        for group in _groups(call.contents):
            if call.deadline is not None and time.monotonic() >= call.deadline:
                raise DeadlineExceeded("the deadline passed while the contents were read")
            prepared += await loop.run_in_executor(self._threads, prepare, group)
        return prepared

    async def _compute(
        self,
        model: TextModel,
        call: EncodeCall,
        prepared: Sequence[Prepared[np.ndarray] | ServiceError],
    ) -> Sequence[Sequence[Done[np.ndarray] | ServiceError]]:
        """The vector of each part of each content, or why it has none."""
        items = [
            Item(model, part.payload, part.length, call.lane, call.deadline)
            for one in prepared
            if not isinstance(one, ServiceError)
            for part in one.parts
        ]
        futures = self._scheduler.submit(items)
        results = iter(await asyncio.gather(*futures, return_exceptions=True))
        return [
            [one]
            if isinstance(one, ServiceError)
            else [_computed(next(results)) for _ in one.parts]
            for one in prepared
        ]


def _computed(result: Done[np.ndarray] | BaseException) -> Done[np.ndarray] | ServiceError:
    if isinstance(result, DeadlineExceeded) or not isinstance(result, Done | ServiceError):
        raise result
    return result


def _check(model: TextModel, call: EncodeCall) -> None:
    if call.fingerprint not in ("", model.fingerprint):
        raise FailedPrecondition(
            "WRONG_FINGERPRINT",
            f"{model.name} has the fingerprint {model.fingerprint}, not {call.fingerprint}: "
            "its vectors cannot be compared with those",
            {"model": model.name, "fingerprint": model.fingerprint, "demanded": call.fingerprint},
        )
    if call.dimensions not in (0, model.card.dimension):
        raise Unsupported("dimensions: shortening vectors is not implemented yet; leave it out")


def _prepared(
    model: TextModel, content: Content, call: EncodeCall
) -> Prepared[np.ndarray] | ServiceError:
    try:
        return model.prepare(content, call.options)
    except InvalidRequest as error:
        return error


def _groups(contents: Sequence[Content]) -> Iterator[Sequence[Content]]:
    """Contents in order, in groups of at most _GROUP_UNITS or of one content."""
    group: list[Content] = []
    units = 0
    for content in contents:
        units += len(content.data)
        if group and units > _GROUP_UNITS:
            yield group
            group, units = [], len(content.data)
        group.append(content)
    yield group


def _embedding(
    prepared: Prepared[np.ndarray] | ServiceError,
    computed: Sequence[Done[np.ndarray] | ServiceError],
) -> Embedding:
    """A content's embedding; a part that failed fails its content."""
    if isinstance(prepared, ServiceError):
        return Embedding(prepared)
    outcome: np.ndarray | list[SegmentVector] | ServiceError = []
    for part, one in zip(prepared.parts, computed, strict=True):
        if isinstance(one, ServiceError):
            outcome = one
            break
        if part.segment is None:
            outcome = one.value
            break
        assert isinstance(outcome, list)
        outcome.append(SegmentVector(part.segment, one.value))
    return Embedding(outcome, prepared.tokens, prepared.original_tokens, prepared.truncated)

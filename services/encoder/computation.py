"""One content on its way to its embedding, and the calls that wait for it.

A computation belongs to no call: it goes on while anybody waits for it, and ends with the last.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from searchmesh_common.errors import DeadlineExceeded, Internal, ServiceError
from searchmesh_encoder.content import Content
from searchmesh_encoder.embedding import Embedding, SegmentVector
from searchmesh_encoder.prepared import TooLong
from searchmesh_encoder.work import Done, Item, Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from searchmesh_encoder.prepared import Prepared, PrepareOptions
    from searchmesh_encoder.text_model import TextModel
    from searchmesh_encoder.work import Runner

    AnyItem = Item[Any, Any]
    AnyRunner = Runner[Any, Any]
    Vector = Done[np.ndarray]
    Readable = Prepared[np.ndarray] | ServiceError


_MISSING = Embedding(Internal("not computed yet"))

_FORGOTTEN = Content(None, "")


class Read(NamedTuple):
    """What became of reading a content."""

    outcome: Readable
    seconds: float
    """That a thread took for it."""


class Gathering:
    """What a call has so far of its embeddings."""

    __slots__ = (
        "_future",
        "_left",
        "computations",
        "compute_seconds",
        "embeddings",
        "queue_seconds",
    )

    def __init__(self, contents: int) -> None:
        self.embeddings: list[Embedding] = [_MISSING] * contents
        """In order; whole once `wait` has returned."""
        self.computations: list[Computation] = []
        """Those it waits for, or did."""
        self.queue_seconds = 0.0
        """Of the content that waited longest."""
        self.compute_seconds = 0.0
        """Of the batch that took longest."""
        self._left = contents
        self._future: asyncio.Future[None] | None = None

    def receive(self, index: int, embedding: Embedding) -> None:
        """One more content is done."""
        self.embeddings[index] = embedding
        self._left -= 1
        if not self._left and self._future and not self._future.done():
            self._future.set_result(None)

    def fail(self, error: ServiceError) -> None:
        """The call as a whole cannot be answered."""
        if self._future and not self._future.done():
            self._future.set_exception(error)

    async def wait(self) -> None:
        """Until all is there; raises what it failed with.

        To be called in the same step of the event loop in which the computations were joined.
        """
        if self._left:
            self._future = asyncio.get_running_loop().create_future()
            await self._future

    def leave(self) -> None:
        """Wait for nothing more."""
        for one in self.computations:
            one.leave(self)


class Stages(Protocol):
    """What computations go through."""

    def was_read(self, computation: Computation, prepared: Prepared[np.ndarray]) -> None:
        """Told what became of a content."""

    def compute(self, items: Sequence[AnyItem]) -> None:
        """Let items be computed."""

    def stop(self, items: Sequence[AnyItem], *, read: bool) -> None:
        """Forget items; read: those that were to be computed."""

    def stop_waiting(self, items: Sequence[AnyItem]) -> bool:
        """Forget items that were to be computed, if no worker has any; whether that is so."""

    def is_sooner_for(self, items: Sequence[AnyItem], caller: str) -> bool:
        """Whether items that wait to be computed would have their turn sooner as a caller's."""

    def ended(self, computation: Computation, embedding: Embedding | None) -> None:
        """Told once: with the embedding, or None where nobody waits for it any more."""


class Computation:
    """One content of one model; used on the event loop alone."""

    __slots__ = (
        "_compute_seconds",
        "_items",
        "_pending",
        "_prepared",
        "_queue_seconds",
        "_stages",
        "_vectors",
        "_waiters",
        "caller",
        "content",
        "deadline",
        "ended",
        "entered_lane",
        "held_bytes",
        "held_tokens",
        "key",
        "lane",
        "likely_tokens",
        "model",
        "options",
        "read_seconds",
    )

    def __init__(
        self,
        stages: Stages,
        model: TextModel,
        content: Content,
        options: PrepareOptions,
        *,
        lane: Lane,
        caller: str,
        likely_tokens: int,
        key: bytes | None = None,
    ) -> None:
        self.model = model
        self.content = content
        self.options = options
        self.lane = lane
        self.entered_lane = lane
        """The one that it counts against; `lane` is where it is worked on."""
        self.caller = caller
        self.likely_tokens = likely_tokens
        """What it was let in for."""
        self.key = key
        """What equal contents share; None where that is not asked for."""
        self.deadline = -math.inf
        self.ended = False
        self.read_seconds = 0.0
        """That a thread took to read it."""
        self.held_tokens = 0
        """Reserved for it until it is read."""
        self.held_bytes = 0
        """Of its items."""
        self._stages = stages
        self._waiters: list[tuple[Gathering, int]] = []
        self._prepared: Prepared[np.ndarray] | None = None
        self._items: list[AnyItem] = []
        """In the stage that it is at."""
        self._vectors: list[np.ndarray | None] = []
        self._pending = 0
        """Parts that are not computed yet."""
        self._queue_seconds = 0.0
        self._compute_seconds = 0.0

    def join(self, gathering: Gathering, index: int, deadline: float) -> None:
        """Let a call wait, too; the latest deadline of all who do counts."""
        self._waiters.append((gathering, index))
        gathering.computations.append(self)
        if deadline > self.deadline:
            self.deadline = deadline
            for item in self._items:
                item.deadline = deadline

    def leave(self, gathering: Gathering) -> None:
        """Let a call go; where it was the last, nothing more is computed."""
        if self.ended:
            return
        self._waiters = [one for one in self._waiters if one[0] is not gathering]
        if not self._waiters:
            self._end(None)

    def comes_first(self, lane: Lane, caller: str) -> bool:
        """Whether it waits where what a caller sends to a lane would wait, and longer already.

        Or in a lane that comes before it.
        """
        if self.lane is not lane:
            return lane is Lane.BULK
        return self.caller == caller

    def hurry(self, lane: Lane, caller: str) -> bool:
        """Have it computed no later than if a caller sent it to a lane now; whether it will be.

        It takes the caller's place where all of it still waits, and that place comes sooner.
        """
        if self.comes_first(lane, caller):
            return True
        if not self._pending:
            return False
        if self.lane is lane and not self._stages.is_sooner_for(self._items, caller):
            return True
        payloads = [item.payload for item in self._items]
        if not self._stages.stop_waiting(self._items):
            return False
        self.lane, self.caller = lane, caller
        self._items = [
            self._item(index, payload, item.length)
            for index, (item, payload) in enumerate(zip(self._items, payloads, strict=True))
        ]
        self._stages.compute(self._items)
        return True

    def to_read(self, runner: AnyRunner) -> AnyItem:
        """The item whose computation is to preprocess the content."""
        content = self.content
        item: AnyItem = Item(
            runner,
            (content, self.options),
            max(1, len(content.data)),
            self.lane,
            self._read,
            self.caller,
            self.deadline,
        )
        self._items = [item]
        return item

    def was_read(self, read: Read) -> Sequence[AnyItem]:
        """The items to compute, now that the content was read; none where that failed."""
        self.read_seconds = read.seconds
        prepared = read.outcome
        if isinstance(prepared, DeadlineExceeded):
            self._fail(prepared)
        elif isinstance(prepared, ServiceError):
            tokens = prepared.original_tokens if isinstance(prepared, TooLong) else 0
            self._end(Embedding(prepared, original_tokens=tokens))
        else:
            self._stages.was_read(self, prepared)
            self._prepared = prepared
            self._pending = len(prepared.parts)
            self._vectors = [None] * self._pending
            self._items = [
                self._item(index, part.payload, part.length)
                for index, part in enumerate(prepared.parts)
            ]
        return self._items

    def _read(self, _item: AnyItem, outcome: Done[Read] | ServiceError) -> None:
        if self.ended:
            return
        self._items = []
        items = self.was_read(outcome.value if isinstance(outcome, Done) else Read(outcome, 0.0))
        self._stages.compute(items)

    def _item(self, index: int, payload: np.ndarray | None, length: int) -> AnyItem:
        done = partial(self._computed, index)
        return Item(self.model, payload, length, self.lane, done, self.caller, self.deadline)

    def _computed(self, index: int, _item: AnyItem, outcome: Vector | ServiceError) -> None:
        if self.ended:
            return
        if isinstance(outcome, DeadlineExceeded):
            self._fail(outcome)
        elif isinstance(outcome, ServiceError):
            self._end(self._embedding(outcome))
        else:
            self._vectors[index] = outcome.value
            self._queue_seconds = max(self._queue_seconds, outcome.queue_seconds)
            self._compute_seconds = max(self._compute_seconds, outcome.compute_seconds)
            self._pending -= 1
            if not self._pending:
                self._end(self._embedding(self._outcome()))

    def _outcome(self) -> np.ndarray | list[SegmentVector]:
        assert self._prepared
        segments = []
        for part, vector in zip(self._prepared.parts, self._vectors, strict=True):
            assert vector is not None
            if part.segment is None:
                return vector
            segments.append(SegmentVector(part.segment, vector))
        return segments

    def _embedding(self, outcome: np.ndarray | list[SegmentVector] | ServiceError) -> Embedding:
        read = self._prepared
        assert read
        return Embedding(outcome, read.tokens, read.original_tokens, read.truncated)

    def _fail(self, error: DeadlineExceeded) -> None:
        """Fail the calls that wait: none of them had more time when a worker looked."""
        waiters = self._waiters
        self._end(None)
        for gathering, _ in waiters:
            gathering.fail(error)

    def _end(self, embedding: Embedding | None) -> None:
        self.ended = True
        items, waiters, prepared = self._items, self._waiters, self._prepared
        self._items, self._waiters, self._vectors, self._prepared = [], [], [], None
        # an item that was taken back knows it still, until the queue's order forgets the item
        self.content = _FORGOTTEN
        if items and (self._pending or embedding is None):
            self._stages.stop(items, read=prepared is not None)
        self._stages.ended(self, embedding)
        if embedding is None:
            return
        for gathering, index in waiters:
            gathering.queue_seconds = max(gathering.queue_seconds, self._queue_seconds)
            gathering.compute_seconds = max(gathering.compute_seconds, self._compute_seconds)
            gathering.receive(index, embedding)

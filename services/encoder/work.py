"""What the scheduler is given, and what it answers; nothing here knows a modality."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from searchmesh_common.errors import ServiceError

Payload = TypeVar("Payload")
Result = TypeVar("Result")
_Payload_contra = TypeVar("_Payload_contra", contravariant=True)
_Result_co = TypeVar("_Result_co", covariant=True)


class Lane(enum.Enum):
    """Whether a person waits. Each lane has workers of its own; those of bulk give way."""

    QUERY = "query"
    BULK = "bulk"

    # the enumeration's own hashes the name anew each time, and lanes are keys for every query
    __hash__ = object.__hash__


class Runner(Protocol[_Payload_contra, _Result_co]):
    """What computes a batch; items of one runner may share a batch."""

    @property
    def name(self) -> str: ...

    def padded_length(self, longest: int) -> int:
        """The length that `run` pads a batch to. longest: of its items."""

    def run(self, payloads: Sequence[_Payload_contra]) -> Sequence[_Result_co | ServiceError]:
        """One result for each payload, in order, or the error of the one that failed; blocks."""


class Place(enum.Enum):
    """Where an item is on its way; it takes each step once."""

    OUTSIDE = enum.auto()
    WAITING = enum.auto()
    TAKEN = enum.auto()
    """A worker has it, or is done with it."""
    GONE = enum.auto()
    """Taken back."""


@dataclass(slots=True, eq=False)
class Item(Generic[Payload, Result]):
    """Something to compute."""

    runner: Runner[Payload, Result]
    payload: Payload | None
    """What the runner takes; None once the item was taken back or its end told."""
    length: int
    """Length on the axis that a batch pads; also what the item costs alone. At least 1."""
    lane: Lane
    done: Callable[[Item[Payload, Result], Done[Result] | ServiceError], None]
    """Called once on the event loop, unless the item is cancelled first."""
    caller: str = ""
    """Whose share of the lane it counts against."""
    deadline: float = math.inf
    """On the clock of time.monotonic; it is not computed once this cannot be met. May be put off
    until the item's end is told."""

    # the scheduler's own notes
    place: Place = field(default=Place.OUTSIDE, init=False)
    since: float = field(default=0.0, init=False)
    """When it began to wait."""
    came_after: int = field(default=0, init=False)
    """Tokens that came before it, of its caller and class of length."""


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    """A computed item."""

    value: Result
    queue_seconds: float
    compute_seconds: float
    """Of the whole batch that the item was in."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of a worker, for the metrics and the cost model."""

    runner: str
    lane: Lane
    items: int
    tokens: int
    """Of all items, without padding."""
    padded_tokens: int
    queue_seconds: Sequence[float]
    """Of each item."""
    compute_seconds: float
    failed: bool = False
    """Whether it has taken its time for nothing."""

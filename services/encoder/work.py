"""What the scheduler is given, and what it answers; nothing here knows a modality."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_common.errors import ServiceError

Payload = TypeVar("Payload")
Result = TypeVar("Result")
_Payload_contra = TypeVar("_Payload_contra", contravariant=True)
_Result_co = TypeVar("_Result_co", covariant=True)


class Lane(enum.Enum):
    """Whether a person waits. The query lane is served first."""

    QUERY = "query"
    BULK = "bulk"


class Runner(Protocol[_Payload_contra, _Result_co]):
    """What computes a batch; items of one runner may share a batch."""

    name: str

    def run(self, payloads: Sequence[_Payload_contra]) -> Sequence[_Result_co | ServiceError]:
        """One result for each payload, in order, or the error of the one that failed; blocks."""


@dataclass(frozen=True, slots=True)
class Item(Generic[Payload, Result]):
    """Something to compute."""

    runner: Runner[Payload, Result]
    payload: Payload
    length: int
    """Length on the axis that a batch pads; also what the item costs alone."""
    lane: Lane
    deadline: float | None = None
    """On the clock of time.monotonic; it is not computed once this has passed."""


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    """A computed item."""

    value: Result
    queue_seconds: float
    compute_seconds: float
    """Of the whole batch that the item was in."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a worker has computed, for the metrics."""

    runner: str
    lane: Lane
    """Of the oldest item."""
    items: int
    tokens: int
    """Of all items, without padding."""
    padded_tokens: int
    queue_seconds: Sequence[float]
    """Of each item."""
    compute_seconds: float

"""What work takes on this machine, measured as it is done.

All figures are means over about the last second of work of their kind, so that they follow what
else the machine does: a bulk lane that gives way to queries is seen as slow as it then is. What was
measured is forgotten where nothing follows it: a figure that has every call refused, such as that
of a first run or of one during which the machine stood still, would else never be put right.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from searchmesh_encoder.work import Batch, Lane

Key = TypeVar("Key")

_MEMORY_SECONDS = 1.0
_CONTENT_FADE = math.exp(-1 / 256)

_BELIEVED_SECONDS = 2.0
_BELIEVED_TIMES = 2.0
"""A measurement is believed so long, or so many times as long as the work took that it is of: where
work goes on, the next one is there by then."""


@dataclass(slots=True)
class _Ratio:
    """A quotient of sums of which the past fades."""

    above: float = 0.0
    below: float = 0.0
    believed_until: float = math.inf

    def add(self, above: float, below: float, fade: float) -> None:
        self.above = self.above * fade + above
        self.below = self.below * fade + below

    @property
    def value(self) -> float:
        """0 before anything was added."""
        return self.above / self.below if self.below else 0.0


class CostModel:
    """Safe to use from any thread; what it was not shown lately takes no time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker_seconds: dict[tuple[str | None, Lane], _Ratio] = {}
        """By model and lane, and of a lane's models together."""
        self._batch_seconds: dict[tuple[str, Lane], _Line] = {}
        """By model and lane: the runs of the one that gives way take longer."""
        self._tokens: dict[str, _Ratio] = {}

    def computed(self, batch: Batch, worker_seconds: float) -> None:
        """Learn from a batch. worker_seconds: for all that the worker did about it."""
        fade = math.exp(-worker_seconds / _MEMORY_SECONDS)
        now = time.monotonic()
        believed_until = now + max(_BELIEVED_SECONDS, _BELIEVED_TIMES * worker_seconds)
        own = (batch.runner, batch.lane)
        with self._lock:
            line = _believed(self._batch_seconds, own, now, _Line)
            line.add(batch.padded_tokens, batch.compute_seconds)
            line.believed_until = believed_until
            for known in (own, (None, batch.lane)):
                ratio = _believed(self._worker_seconds, known, now, _Ratio)
                ratio.add(worker_seconds, batch.tokens, fade)
                ratio.believed_until = believed_until

    def read(self, model: str, units: int, tokens: int) -> None:
        """Learn how many tokens some content had. units: characters or bytes of it."""
        with self._lock:
            self._tokens.setdefault(model, _Ratio()).add(tokens, units, _CONTENT_FADE)

    def worker_seconds(self, lane: Lane, model: str | None = None) -> float:
        """Seconds that a worker of a lane takes for a token, all its waiting included.

        Of one model, or of what the lane computed lately.
        """
        known = self._worker_seconds.get((model, lane))
        return known.value if known and time.monotonic() < known.believed_until else 0.0

    def batch_seconds(self, model: str, lane: Lane, padded_tokens: int) -> float:
        """Seconds that a model takes for a batch of a lane."""
        now = time.monotonic()
        with self._lock:
            known = self._batch_seconds.get((model, lane))
            return known.at(padded_tokens) if known and now < known.believed_until else 0.0

    def tokens(self, model: str, units: int) -> float:
        """Tokens that a content of so many characters or bytes is likely to have.

        As many as those of a model that has read nothing yet.
        """
        known = self._tokens.get(model)
        return known.value * units if known else units


@dataclass(slots=True)
class _Line:
    """A straight line through points of which the past fades."""

    n: float = 0.0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    believed_until: float = math.inf

    def add(self, x: float, y: float) -> None:
        fade = math.exp(-y / _MEMORY_SECONDS)
        self.n = self.n * fade + 1
        self.x = self.x * fade + x
        self.y = self.y * fade + y
        self.xx = self.xx * fade + x * x
        self.xy = self.xy * fade + x * y

    def at(self, x: float) -> float:
        """Where the points are all at one place, or the line would fall, it goes through 0."""
        spread = self.n * self.xx - self.x * self.x
        if spread > 1e-6 * self.n * self.xx:
            slope = (self.n * self.xy - self.x * self.y) / spread
            base = (self.y - slope * self.x) / self.n
            if slope >= 0 and base >= 0:
                return base + slope * x
        return self.y / self.x * x


Figure = TypeVar("Figure", _Ratio, _Line)


def _believed(
    figures: dict[Key, Figure], key: Key, now: float, new: Callable[[], Figure]
) -> Figure:
    """The figure of a key, or a new one where there is none that is believed."""
    figure = figures.get(key)
    if figure is None or now >= figure.believed_until:
        figure = figures[key] = new()
    return figure

"""What work takes on this machine, measured as it is done.

All figures are means over about the last second of work of their kind, so that they follow what
else the machine does: a bulk lane that gives way to queries is seen as slow as it then is.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from searchmesh_encoder.work import Batch, Lane

_MEMORY_SECONDS = 1.0
_CONTENT_FADE = math.exp(-1 / 256)


@dataclass(slots=True)
class _Ratio:
    """A quotient of sums of which the past fades."""

    above: float = 0.0
    below: float = 0.0

    def add(self, above: float, below: float, fade: float) -> None:
        self.above = self.above * fade + above
        self.below = self.below * fade + below

    @property
    def value(self) -> float:
        """0 before anything was added."""
        return self.above / self.below if self.below else 0.0


class CostModel:
    """Safe to use from any thread; what it was not shown yet takes no time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker_seconds: dict[tuple[str | None, Lane], _Ratio] = {}
        """By model and lane, and of a lane's models together."""
        self._batch_seconds: dict[str, _Line] = {}
        self._tokens: dict[str, _Ratio] = {}

    def computed(self, batch: Batch, worker_seconds: float) -> None:
        """Learn from a batch. worker_seconds: for all that the worker did about it."""
        fade = math.exp(-worker_seconds / _MEMORY_SECONDS)
        with self._lock:
            line = self._batch_seconds.setdefault(batch.runner, _Line())
            line.add(batch.padded_tokens, batch.compute_seconds)
            for known in ((batch.runner, batch.lane), (None, batch.lane)):
                ratio = self._worker_seconds.setdefault(known, _Ratio())
                ratio.add(worker_seconds, batch.tokens, fade)

    def read(self, model: str, units: int, tokens: int) -> None:
        """Learn how many tokens some content had. units: characters or bytes of it."""
        with self._lock:
            self._tokens.setdefault(model, _Ratio()).add(tokens, units, _CONTENT_FADE)

    def worker_seconds(self, lane: Lane, model: str | None = None) -> float:
        """Seconds that a worker of a lane takes for a token, all its waiting included.

        Of one model, or of what the lane computed lately.
        """
        known = self._worker_seconds.get((model, lane))
        return known.value if known else 0.0

    def batch_seconds(self, model: str, padded_tokens: int) -> float:
        """Seconds that a model takes for a batch."""
        with self._lock:
            known = self._batch_seconds.get(model)
            return known.at(padded_tokens) if known else 0.0

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

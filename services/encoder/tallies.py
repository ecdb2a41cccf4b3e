"""Counts and distributions of one model and lane, cheap enough to keep for every query.

Prometheus's own counters and histograms take some microseconds each time, a quarter of the time
that an answer from the cache takes.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.utils import floatToGoString

from searchmesh_common.errors import ServiceError
from searchmesh_common.metrics import SECONDS_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_encoder.encoder import Encoded
    from searchmesh_encoder.work import Batch

# powers of two, as batches of texts of one length grow; 256 tokens is the usual budget
_ITEM_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKEN_BUCKETS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)

OUTCOMES = ("vector", "error", "refused", "expired", "cancelled")
"""What becomes of a content, one of them of each. `refused`, `expired` and `cancelled` are what
became of its whole call."""


class Distribution:
    """How often which value was seen; to be used under its owner's lock."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """bounds: rising, each the highest value of its bucket."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """As Prometheus has it: each bound with how many were not above it, and the sum."""
        names = (*map(floatToGoString, self._bounds), "+Inf")
        return list(zip(names, map(float, accumulate(self._counts)), strict=True)), self._sum


class Tallies:
    """What happened to the contents of one model in one lane; safe to use from any thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """To be held by whoever reads several of these that have to agree."""
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.in_flight = 0
        self.truncated = 0
        self.coalesced = 0
        self.cache_hits = 0
        self.cache_misses = 0
        self.tokens = 0
        self.padded_tokens = 0
        self.preprocess_seconds = Distribution(SECONDS_BUCKETS)
        self.queue_seconds = Distribution(SECONDS_BUCKETS)
        self.compute_seconds = Distribution(SECONDS_BUCKETS)
        self.batch_items = Distribution(_ITEM_BUCKETS)
        self.batch_tokens = Distribution(_TOKEN_BUCKETS)

    def computed(self, batch: Batch) -> None:
        """Count a batch; called on the worker's thread."""
        with self.lock:
            self.tokens += batch.tokens
            self.padded_tokens += batch.padded_tokens
            self.compute_seconds.observe(batch.compute_seconds)
            self.batch_items.observe(batch.items)
            self.batch_tokens.observe(batch.padded_tokens)
            for seconds in batch.queue_seconds:
                self.queue_seconds.observe(seconds)

    def begin(self, contents: int) -> None:
        """Count a call that came."""
        with self.lock:
            self.in_flight += contents

    def looked_up(self, hits: int, misses: int) -> None:
        """Count what the cache was asked for."""
        with self.lock:
            self.cache_hits += hits
            self.cache_misses += misses

    def joined(self, contents: int) -> None:
        """Count contents that wait for an equal one."""
        with self.lock:
            self.coalesced += contents

    def failed(self, outcome: str, contents: int) -> None:
        """Count a call that ended without an answer; outcome: one of OUTCOMES."""
        with self.lock:
            self.in_flight -= contents
            self.outcomes[outcome] += contents

    def encoded(self, encoded: Encoded) -> None:
        """Count a call that was answered."""
        embeddings = encoded.embeddings
        errors = sum(isinstance(one.outcome, ServiceError) for one in embeddings)
        truncated = sum(one.truncated for one in embeddings)
        with self.lock:
            self.in_flight -= len(embeddings)
            self.outcomes["error"] += errors
            self.outcomes["vector"] += len(embeddings) - errors
            self.truncated += truncated
            if encoded.preprocess_seconds:
                self.preprocess_seconds.observe(encoded.preprocess_seconds)

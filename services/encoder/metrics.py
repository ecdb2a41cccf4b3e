"""Every metric of the encoder beyond those of its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from searchmesh_common.errors import ServiceError
from searchmesh_common.metrics import SECONDS_BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from searchmesh_encoder.encoder import Encoded
    from searchmesh_encoder.work import Batch, Lane

# powers of two, as batches of texts of one length grow; 256 tokens is the usual budget
_ITEM_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKEN_BUCKETS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)

_LABELS = ("model", "lane")


class EncoderMetrics:
    """Every metric of the encoder beyond those of its calls; safe to use from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._contents = Counter(
            "encoder_contents_total",
            "Contents answered, by outcome: vector or error.",
            (*_LABELS, "outcome"),
            registry=registry,
        )
        self._truncated = Counter(
            "encoder_truncated_total",
            "Contents whose end was left out.",
            _LABELS,
            registry=registry,
        )
        self._tokens = Counter(
            "encoder_tokens_total", "Tokens computed, without padding.", _LABELS, registry=registry
        )
        self._padded_tokens = Counter(
            "encoder_padded_tokens_total",
            "Tokens computed, padding counted.",
            _LABELS,
            registry=registry,
        )
        self._preprocess_seconds = self._seconds(
            "encoder_preprocess_seconds", "Time to decode and tokenise the contents of a call"
        )
        self._queue_seconds = self._seconds(
            "encoder_queue_seconds", "Time that a content waited for a worker"
        )
        self._compute_seconds = self._seconds(
            "encoder_compute_seconds", "Time that the model took for a batch"
        )
        self._batch_contents = Histogram(
            "encoder_batch_contents",
            "Contents in a batch.",
            _LABELS,
            buckets=_ITEM_BUCKETS,
            registry=registry,
        )
        self._batch_tokens = Histogram(
            "encoder_batch_tokens",
            "Tokens in a batch, padding counted.",
            _LABELS,
            buckets=_TOKEN_BUCKETS,
            registry=registry,
        )
        self._ready = Gauge(
            "encoder_model_ready",
            "1 when the model encodes, else 0.",
            ("model",),
            registry=registry,
        )

    def watch_queue(self, waiting_tokens: Callable[[], int]) -> None:
        """Report what a scheduler has waiting."""
        gauge = Gauge(
            "encoder_queue_tokens", "Tokens that wait for a worker now.", registry=self._registry
        )
        gauge.set_function(waiting_tokens)

    def model_ready(self, model: str, *, ready: bool) -> None:
        """Report whether a model encodes."""
        self._ready.labels(model).set(ready)

    def batch(self, batch: Batch) -> None:
        """Count a batch that was computed; called on the worker's thread."""
        labels = (batch.runner, batch.lane.value)
        self._tokens.labels(*labels).inc(batch.tokens)
        self._padded_tokens.labels(*labels).inc(batch.padded_tokens)
        self._compute_seconds.labels(*labels).observe(batch.compute_seconds)
        self._batch_contents.labels(*labels).observe(batch.items)
        self._batch_tokens.labels(*labels).observe(batch.padded_tokens)
        queue_seconds = self._queue_seconds.labels(*labels)
        for seconds in batch.queue_seconds:
            queue_seconds.observe(seconds)

    def encoded(self, lane: Lane, encoded: Encoded) -> None:
        """Count a call that was answered."""
        labels = (encoded.model.name, lane.value)
        embeddings = encoded.embeddings
        errors = sum(isinstance(one.outcome, ServiceError) for one in embeddings)
        self._contents.labels(*labels, "error").inc(errors)
        self._contents.labels(*labels, "vector").inc(len(embeddings) - errors)
        self._truncated.labels(*labels).inc(sum(one.truncated for one in embeddings))
        self._preprocess_seconds.labels(*labels).observe(encoded.preprocess_seconds)

    def _seconds(self, name: str, sentence: str) -> Histogram:
        return Histogram(
            name,
            f"{sentence}, in seconds.",
            _LABELS,
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )

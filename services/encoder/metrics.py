"""Every metric of the encoder beyond those of its calls.

The share of computed tokens that is padding, and the share of the time in which workers compute:

    1 - rate(encoder_tokens_total[1m]) / rate(encoder_padded_tokens_total[1m])
    sum by (instance, stage, lane) (rate(encoder_worker_busy_seconds_total[1m]))
      / on (instance, stage, lane) encoder_workers
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import Gauge
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from searchmesh_encoder.tallies import OUTCOMES, Tallies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from searchmesh_encoder.work import Batch, Lane

    Values = Mapping[tuple[str, ...], float]
    """By the values of their labels."""

STAGES = ("preprocess", "compute")

_LABELS = ("model", "lane")

_COUNTERS = {
    "truncated": "Contents whose end was left out.",
    "coalesced": "Contents that waited for an equal one that was on its way already.",
    "cache_hits": "Contents answered from the cache.",
    "cache_misses": "Contents that were not in the cache.",
    "tokens": "Tokens computed, without padding.",
    "padded_tokens": "Tokens computed, padding counted.",
}

_HISTOGRAMS = {
    "preprocess_seconds": (
        "Time to decode and tokenise the content of a call that took longest, in seconds; "
        "of calls for which none was read, nothing."
    ),
    "queue_seconds": "Time that a content or segment waited for a worker, in seconds.",
    "compute_seconds": "Time that the model took for a batch, in seconds.",
    "batch_items": "Contents and segments in a batch.",
    "batch_tokens": "Tokens in a batch, padding counted.",
}


class EncoderMetrics(Collector):
    """Every metric of the encoder beyond those of its calls; safe to use from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[tuple[str, Lane], Tallies] = {}
        self._busy_seconds: defaultdict[tuple[str, str, str], float] = defaultdict(float)
        """By stage, lane and model."""
        self._watched: list[_Watched] = []
        self._ready = Gauge(
            "encoder_model_ready",
            "1 when the model encodes, else 0.",
            ("model",),
            registry=registry,
        )
        registry.register(self)

    def of(self, model: str, lane: Lane) -> Tallies:
        """The tallies of a model in a lane."""
        known = self._tallies.get((model, lane))
        if known is None:
            with self._lock:
                known = self._tallies.setdefault((model, lane), Tallies())
        return known

    def computed(self, batch: Batch) -> None:
        """Count a run of a model; called on the worker's thread."""
        if not batch.failed:
            self.of(batch.runner, batch.lane).computed(batch)
        self._busy("compute", batch)

    def preprocessed(self, batch: Batch) -> None:
        """Count contents that were read together; called on the worker's thread."""
        self._busy("preprocess", batch)

    def model_ready(self, model: str, *, ready: bool) -> None:
        """Report whether a model encodes."""
        self._ready.labels(model).set(ready)

    def watch(
        self, name: str, sentence: str, labels: Sequence[str], read: Callable[[], Values]
    ) -> None:
        """Report a gauge, read at every scrape. name: without the prefix."""
        self._watched.append(_Watched(name, sentence, labels, read))

    def describe(self) -> Iterator[Metric]:
        """Nothing: no name is registered by anybody else."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All tallies as they are now, those of one model and lane at one moment."""
        counters = {
            name: CounterMetricFamily(f"encoder_{name}", sentence, labels=_LABELS)
            for name, sentence in _COUNTERS.items()
        }
        histograms = {
            name: HistogramMetricFamily(f"encoder_{name}", sentence, labels=_LABELS)
            for name, sentence in _HISTOGRAMS.items()
        }
        outcomes = CounterMetricFamily(
            "encoder_contents",
            f"Contents that ended, by outcome: {', '.join(OUTCOMES)}.",
            labels=(*_LABELS, "outcome"),
        )
        in_flight = GaugeMetricFamily(
            "encoder_in_flight", "Contents of calls that are not answered yet.", labels=_LABELS
        )
        for (model, lane), tallies in list(self._tallies.items()):
            labels = (model, lane.value)
            with tallies.lock:
                for name, counter in counters.items():
                    counter.add_metric(labels, getattr(tallies, name))
                for name, histogram in histograms.items():
                    histogram.add_metric(labels, *getattr(tallies, name).buckets())
                for outcome, count in tallies.outcomes.items():
                    outcomes.add_metric((*labels, outcome), count)
                in_flight.add_metric(labels, tallies.in_flight)
        yield from (*counters.values(), *histograms.values(), outcomes, in_flight)
        yield self._busy_family()
        yield from (one.family() for one in self._watched)

    def _busy(self, stage: str, batch: Batch) -> None:
        with self._lock:
            self._busy_seconds[stage, batch.lane.value, batch.runner] += batch.compute_seconds

    def _busy_family(self) -> Metric:
        family = CounterMetricFamily(
            "encoder_worker_busy_seconds",
            "Time that the threads of a stage and lane spent on batches, on those that failed too.",
            labels=("stage", "lane", "model"),
        )
        with self._lock:
            for labels, seconds in self._busy_seconds.items():
                family.add_metric(labels, seconds)
        return family


@dataclass(frozen=True, slots=True)
class _Watched:
    name: str
    sentence: str
    labels: Sequence[str]
    read: Callable[[], Values]

    def family(self) -> Metric:
        family = GaugeMetricFamily(f"encoder_{self.name}", self.sentence, labels=self.labels)
        for labels, value in self.read().items():
            family.add_metric(labels, value)
        return family

"""A server's run as a sample."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import cycle, islice
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from encoder.ceiling import PASS_TOKENS
from encoder.profile import profile
from encoder.scrape import Scrape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from encoder.bench import Bench
    from encoder.ceiling import Best
    from encoder.h2load import Load
    from encoder.results import Sample
    from encoder.target import Target


@dataclass(slots=True)
class Meter:
    """What a server spends and counts while its block lasts, and what its texts cost.

    Where that is our encoder, `sample` says where its time goes, too.
    """

    target: Target
    cpus: int
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    change: Scrape = field(default_factory=lambda: Scrape({}))
    """What the metrics of a server of ours grew by."""
    _before: Scrape = field(default_factory=lambda: Scrape({}))

    def __enter__(self) -> Meter:
        self._before = self.target.scrape()
        self.cpu_seconds = self.target.process.cpu_seconds()
        self.seconds = time.perf_counter()
        return self

    def __exit__(self, *raised: object) -> None:
        if raised[0] is not None:
            return
        self.seconds = time.perf_counter() - self.seconds
        self.cpu_seconds = self.target.process.cpu_seconds() - self.cpu_seconds
        self.change = self.target.scrape().since(self._before)

    def calls(self, code: str) -> float:
        """Encode calls that ended with a status, as gRPC's own metrics spell it."""
        return self.change.sum("grpc_server_handled_total", grpc_method="Encode", grpc_code=code)

    def not_ok(self) -> float:
        """Encode calls that ended badly, by the server's own count: h2load sees no grpc-status.

        Those that were cancelled are not counted: h2load hangs up when its time is over.
        """
        every = self.change.sum("grpc_server_handled_total", grpc_method="Encode")
        return every - self.calls("OK") - self.calls("Canceled")

    def costs(self) -> Sample:
        """The server's CPU beside the wall, and where our encoder's time goes."""
        times = {"server_cpu_seconds": self.cpu_seconds, "seconds": self.seconds}
        if "encoder_batch_items_sum" not in self.change.names():
            return times
        where = profile(
            self.change, seconds=self.seconds, cpus=self.cpus, cpu_seconds=self.cpu_seconds
        )
        return times | dict(where)


def served(
    bench: Bench, target: Target, texts_a_call: int, run: Callable[[], Load]
) -> dict[str, float]:
    """What a load was answered with, and the CPU time of both sides. Raises ServerError."""
    with Meter(target, bench.cpus) as meter:
        load = run()
    return answered(meter, load, texts_a_call)


def answered(meter: Meter, load: Load, texts_a_call: int = 1) -> dict[str, float]:
    """A load as a sample; what the server's own counters call failed is no answer.

    Raises ServerError where nothing was answered.
    """
    good = load.answered - meter.not_ok()
    if good <= 0:
        raise meter.target.process.error("answered no call of a load")
    texts = good * texts_a_call
    p50, p99 = np.percentile(load.latencies, (50, 99)) * 1e3
    return {
        "texts_per_second": texts / load.seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "server_cpu_ms": meter.cpu_seconds / texts * 1e3,
        "generator_cpu_ms": load.cpu_seconds / texts * 1e3,
        "failed": load.failed + meter.not_ok(),
        **meter.costs(),
    }


def at_ceiling(bench: Bench, workload: str, texts: Sequence[str]) -> Sample:
    """The same texts without a server, in the best batches."""
    enough = _enough(bench, texts)
    budget = best_batches(bench, workload, texts).batch_tokens
    measured = bench.ceiling.measure(enough, budget, bench.seconds)
    return {
        "texts_per_second": measured["texts_per_second"],
        "server_cpu_ms": measured["cpu_ms"],
        "useful_share": measured["useful_share"],
        "batch_tokens": float(budget),
        **_times(measured),
    }


def alone(bench: Bench, texts: Sequence[str], seconds: float) -> Sample:
    """One text after another without a server."""
    measured = bench.ceiling.measure_alone(texts, seconds)
    return {
        "texts_per_second": measured["texts_per_second"],
        "p50_ms": measured["p50_ms"],
        "p99_ms": measured["p99_ms"],
        "server_cpu_ms": measured["cpu_ms"],
        **_times(measured),
    }


def _times(measured: Sample) -> Sample:
    texts = measured["texts_per_second"] * measured["seconds"]
    cpu_seconds = measured["cpu_ms"] * texts / 1e3
    return {"server_cpu_seconds": cpu_seconds, "seconds": measured["seconds"]}


def best_batches(bench: Bench, workload: str, texts: Sequence[str]) -> Best:
    """How large batches of these texts are best, and what that gives."""
    # what is alike but for the size of its calls has one best size of batch
    return bench.ceiling.best(workload[0], _enough(bench, texts), bench.seconds / 4)


def _enough(bench: Bench, texts: Sequence[str]) -> Sequence[str]:
    """Of the texts, over and over, as many as keep all threads busy for a while."""
    average = sum(map(bench.texts.tokens, texts)) / len(texts)
    return list(islice(cycle(texts), ceil(PASS_TOKENS / average)))

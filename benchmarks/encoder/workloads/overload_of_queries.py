"""(e) Twice as many single queries as the machine can answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from encoder import h2load
from encoder.callers import CallersProcess, Job, Planned
from encoder.h2load import Arrivals
from encoder.results import at_least, at_most
from encoder.watch import Watch
from encoder.wires import grpc_wire
from encoder.workloads.measuring import served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.bench import Bench
    from encoder.results import Goal, Results, Sample

PEAK = "peak"
TWICE = "2x"

_DEADLINES_MS = (250, 500, 1000, 2000)
"""Of the h2loads, in turn."""

_PROBES_PER_SECOND = 10
"""Calls among the others whose RetryInfo is looked at."""


class OverloadOfQueries:
    """Single queries that arrive at random at twice the rate of 32 callers who wait."""

    key = "e-queries"
    title = "(e) open-loop overload of single short queries, deadlines of 250 ms to 2 s"
    rotates = False
    contenders = (PEAK, TWICE)

    def __init__(self, bench: Bench, queries: Sequence[str]) -> None:
        """queries: one for each h2load."""
        self._bench = bench
        self._queries = queries
        self._random = np.random.default_rng(0)
        self._peak: dict[str, float] = {}

    def measure(self, contender: str) -> Sample:
        return self._measure_peak() if contender == PEAK else self._measure_twice()

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        twice = medians[TWICE]
        share = twice["goodput_texts_per_second"] / medians[PEAK]["goodput_texts_per_second"]
        return [
            at_least(self.key, "goodput ÷ peak ≥ 0.80", share, 0.80),
            at_most(self.key, "refusals without RetryInfo", twice["no_retry_info"], 0),
            at_most(self.key, "health p99, ms ≤ 100", twice["health_p99_ms"], 100),
        ]

    def _measure_peak(self) -> Sample:
        target, seconds = self._bench.ours.target, self._bench.seconds
        calls = [[query] for query in self._queries]
        self._peak = served(
            target, 1, lambda: h2load.closed_loop(target, calls, callers=32, seconds=seconds)
        )
        return {
            "goodput_texts_per_second": self._peak["texts_per_second"],
            "server_cpu_ms": self._peak["server_cpu_ms"],
            "generator_cpu_ms": self._peak["generator_cpu_ms"],
        }

    def _measure_twice(self) -> Sample:
        encoder, seconds = self._bench.ours, self._bench.seconds
        arrivals = self._arrivals()
        before = self._counted()
        probes = CallersProcess(self._probes())
        cpu = encoder.target.process.cpu_seconds()
        with Watch(encoder) as watch:
            loads = h2load.open_loop(encoder.target, arrivals)
        cpu = encoder.target.process.cpu_seconds() - cpu
        probed = probes.report()
        counted = {code: count - before[code] for code, count in self._counted().items()}
        refused = counted["ResourceExhausted"]
        # what the answers cost is known from the peak; the rest is the refusals'
        spare = cpu - counted["OK"] * self._peak["server_cpu_ms"] / 1e3
        return {
            "ok": counted["OK"],
            "refused": refused,
            "expired": counted["DeadlineExceeded"],
            "goodput_texts_per_second": counted["OK"]
            / max(seconds, *(one.seconds for one in loads)),
            "refusal_cpu_ms": max(0.0, spare) / max(1.0, refused) * 1e3,
            "no_retry_info": float(
                sum(not one.has_retry_info for one in probed.of("RESOURCE_EXHAUSTED"))
            ),
            "generator_cpu_ms": sum(one.cpu_seconds for one in loads) / sum(counted.values()) * 1e3,
            "health_p99_ms": watch.health_p99_ms,
            "resident_mib": watch.resident_mib,
        }

    def _counted(self) -> dict[str, float]:
        """Encode calls by status, as the encoder counts them."""
        return {
            code: self._bench.ours.count(
                "grpc_server_handled_total", grpc_method="Encode", grpc_code=code
            )
            for code in ("OK", "ResourceExhausted", "DeadlineExceeded")
        }

    def _arrivals(self) -> list[Arrivals]:
        seconds = self._bench.seconds
        each = 2 * self._peak["texts_per_second"] / len(self._queries)
        return [
            Arrivals(
                grpc_wire(
                    self._bench.model.name,
                    timeout_milliseconds=_DEADLINES_MS[at % len(_DEADLINES_MS)],
                ),
                [query],
                h2load.poisson(each, seconds, self._random),
            )
            for at, query in enumerate(self._queries)
        ]

    def _probes(self) -> Job:
        seconds = self._bench.seconds
        times = h2load.poisson(_PROBES_PER_SECOND, seconds, self._random)
        plan = [Planned(0, float(time), 1.0) for time in times]
        encoder = self._bench.ours
        return Job(encoder.address, encoder.model, [self._queries[:1]], plan)

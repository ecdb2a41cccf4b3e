"""(e) Twice as many single queries as the machine can answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from encoder import h2load
from encoder.callers import CallersProcess, Job, Planned
from encoder.h2load import Arrivals, LoadError
from encoder.results import at_least, no_failures, ratio
from encoder.watch import Watch
from encoder.wires import grpc_wire
from encoder.workloads.measuring import Meter, answered
from encoder.workloads.refusals import goals_of_refusals, unexplained_refusals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.bench import Bench
    from encoder.results import Goal, Results, Sample

PEAK = "peak"
TWICE = "2x"

_DEADLINES_MS = (250, 500, 1000, 2000)
"""Of the h2loads, in turn."""

_PROBES_PER_SECOND = 50
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
        twice, peak = medians[TWICE], medians[PEAK]["goodput_texts_per_second"]
        share = ratio(twice["goodput_texts_per_second"], peak)
        return [
            no_failures(self.key, medians, PEAK),
            at_least(self.key, "2x: goodput ÷ peak ≥ 0.80", share, 0.80, contender=TWICE),
            *goals_of_refusals(self.key, TWICE, twice),
            no_failures(self.key, medians, TWICE),
        ]

    def _measure_peak(self) -> Sample:
        ours, seconds = self._bench.ours, self._bench.seconds
        calls = [[query] for query in self._queries]
        with Meter(ours.target, self._bench.cpus) as meter, Watch(ours) as watch:
            load = h2load.closed_loop(ours.target, calls, callers=32, seconds=seconds)
        self._peak = answered(meter, load)
        return {
            "goodput_texts_per_second": self._peak["texts_per_second"],
            "ok": meter.calls("OK"),
            "failed": self._peak["failed"],
            "server_cpu_ms": self._peak["server_cpu_ms"],
            "generator_cpu_ms": self._peak["generator_cpu_ms"],
            "health_p99_ms": watch.health_p99_ms,
            "resident_mib": watch.resident_mib,
            **meter.costs(),
        }

    def _measure_twice(self) -> Sample:
        ours, arrivals = self._bench.ours, self._arrivals()
        with (
            Meter(ours.target, self._bench.cpus) as meter,
            Watch(ours) as watch,
            CallersProcess(self._probes()) as probes,
        ):
            loads = h2load.open_loop(ours.target, arrivals)
            probed = probes.report().of("RESOURCE_EXHAUSTED")
        ok, refused, expired = (
            meter.calls(code) for code in ("OK", "ResourceExhausted", "DeadlineExceeded")
        )
        # what the answers cost is known from the peak; the rest is the refusals'
        spare = meter.cpu_seconds - ok * self._peak["server_cpu_ms"] / 1e3
        wall = max(self._bench.seconds, *(one.seconds for one in loads))
        load_cpu = sum(one.cpu_seconds for one in loads)
        return {
            "goodput_texts_per_second": ok / wall,
            "ok": ok,
            "refused": refused,
            "expired": expired,
            "failed": meter.not_ok() - refused - expired + sum(one.failed for one in loads),
            "looked_at": float(len(probed)),
            "no_retry_info": float(sum(not one.has_retry_info for one in probed)),
            "unexplained": unexplained_refusals(meter, 1),
            "refusal_cpu_ms": max(0.0, spare) / max(1.0, refused) * 1e3,
            "generator_cpu_ms": load_cpu / (ok + refused + expired) * 1e3,
            "health_p99_ms": watch.health_p99_ms,
            "resident_mib": watch.resident_mib,
            **meter.costs(),
        }

    def _arrivals(self) -> list[Arrivals]:
        if not self._peak:
            raise LoadError("the peak is not known")
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
        # with the shortest deadline: those are refused first
        plan = [Planned(0, float(time), min(_DEADLINES_MS) / 1e3) for time in times]
        encoder = self._bench.ours
        return Job(encoder.address, encoder.model, [self._queries[:1]], plan)

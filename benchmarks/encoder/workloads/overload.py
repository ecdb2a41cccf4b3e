"""(e) More bulk than the machine can do, in calls with short deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from encoder.callers import Job, Planned, Report, work_off
from encoder.results import at_least, at_most, ratio
from encoder.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.bench import Bench
    from encoder.results import Goal, Results, Sample

PEAK = "peak"

_FACTORS = {"2x": 2, "5x": 5, "10x": 10}
_PEAK_CALLERS = 8
_PATIENCE = 60.0
"""Seconds that a caller of the peak waits at most."""

_DEADLINES = (0.25, 2.0)
_LEAST_SECONDS = 4.0
_RAMP_SECONDS = 1.0
"""In which the queue fills and nothing is counted."""


class Overload:
    """Calls of 16 passages that arrive at random, at multiples of what the encoder can answer."""

    key = "e"
    title = "(e) open-loop overload in calls of 16 passages, deadlines of 250 ms to 2 s"
    rotates = False
    contenders = (PEAK, *_FACTORS)

    def __init__(self, bench: Bench, calls: Sequence[Sequence[str]]) -> None:
        """calls: the texts of some calls, as many in each."""
        self._bench = bench
        self._calls = calls
        self._peak = 0.0
        self._random = np.random.default_rng(0)

    def measure(self, contender: str) -> Sample:
        # a call takes a good part of a second, so that few fit into the time of other workloads
        seconds = max(_LEAST_SECONDS, 3 * self._bench.seconds)
        job = self._saturating(seconds) if contender == PEAK else self._arriving(contender, seconds)
        process = self._bench.ours.target.process
        cpu = process.cpu_seconds()
        with Watch(self._bench.ours) as watch:
            report = work_off(job)
        cpu = process.cpu_seconds() - cpu
        goodput = _goodput(report, seconds) * len(self._calls[0])
        if contender == PEAK:
            self._peak = goodput
        return {
            **_outcomes(report),
            "goodput_texts_per_second": goodput,
            "server_cpu_seconds": cpu,
            "generator_cpu_seconds": report.cpu_seconds,
            "health_p99_ms": watch.health_p99_ms,
            "resident_mib": watch.resident_mib,
        }

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        peak = medians[PEAK]
        found = []
        for name in _FACTORS:
            one = medians[name]
            share = ratio(one["goodput_texts_per_second"], peak["goodput_texts_per_second"])
            memory = one["resident_mib"] / peak["resident_mib"]
            found += [
                at_least(self.key, f"{name}: goodput ÷ peak ≥ 0.90", share, 0.90),
                at_most(self.key, f"{name}: memory ÷ at the peak ≤ 1.1", memory, 1.1),
                at_most(self.key, f"{name}: refusals without RetryInfo", one["no_retry_info"], 0),
                at_most(self.key, f"{name}: health p99, ms ≤ 100", one["health_p99_ms"], 100),
            ]
        return found

    def _saturating(self, seconds: float) -> Job:
        plan = [Planned(at, 0.0, _PATIENCE) for at in range(len(self._calls))]
        return self._job(plan, callers=_PEAK_CALLERS, seconds=seconds)

    def _arriving(self, contender: str, seconds: float) -> Job:
        rate = _FACTORS[contender] * self._peak / len(self._calls[0])
        count = self._random.poisson(rate * seconds)
        times = np.sort(self._random.uniform(0, seconds, count))
        deadlines = self._random.uniform(*_DEADLINES, count)
        return self._job(
            [
                Planned(at % len(self._calls), float(time), float(deadline))
                for at, (time, deadline) in enumerate(zip(times, deadlines, strict=True))
            ]
        )

    def _job(self, plan: Sequence[Planned], callers: int = 0, seconds: float = 0.0) -> Job:
        encoder = self._bench.ours
        return Job(encoder.address, encoder.model, self._calls, plan, callers, seconds)


def _goodput(report: Report, seconds: float) -> float:
    """Calls a second that were answered in time, from the ramp's end to the last arrival."""
    good = sum(_RAMP_SECONDS < one.ended <= seconds for one in report.of("OK"))
    return good / (seconds - _RAMP_SECONDS)


def _outcomes(report: Report) -> dict[str, float]:
    refused = report.of("RESOURCE_EXHAUSTED")
    counted = {
        "ok": len(report.of("OK")),
        "refused": len(refused),
        "no_retry_info": sum(not one.has_retry_info for one in refused),
        "expired": len(report.of("DEADLINE_EXCEEDED")),
    }
    other = len(report.outcomes) - counted["ok"] - counted["refused"] - counted["expired"]
    return {name: float(count) for name, count in {**counted, "other": other}.items()}

"""(e) More bulk than the machine can do, in calls with short deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.callers import Job, Planned, Report, work_off
from encoder.h2load import LoadError
from encoder.results import at_least, at_most, no_failures, ratio
from encoder.watch import Watch
from encoder.workloads.measuring import Meter
from encoder.workloads.refusals import goals_of_refusals, unexplained_refusals
from searchmesh.encoder.v1 import encoder_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.bench import Bench
    from encoder.results import Goal, Medians, Results, Sample

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
    title = "(e) open-loop overload in bulk calls of 16 passages, deadlines of 250 ms to 2 s"
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
        ours = self._bench.ours
        with Meter(ours.target, self._bench.cpus) as meter, Watch(ours) as watch:
            report = work_off(job)
        goodput = _goodput(report, seconds) * len(self._calls[0])
        if contender == PEAK:
            self._peak = goodput
        return {
            **_outcomes(report),
            "unexplained": unexplained_refusals(meter, len(self._calls[0])),
            "goodput_texts_per_second": goodput,
            "generator_cpu_seconds": report.cpu_seconds,
            "health_p99_ms": watch.health_p99_ms,
            "resident_mib": watch.resident_mib,
            **meter.costs(),
        }

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        found = [no_failures(self.key, medians, PEAK)]
        for name in _FACTORS:
            found += self._goals_at(name, medians)
        return found

    def _goals_at(self, name: str, medians: Medians) -> list[Goal]:
        one, peak = medians[name], medians[PEAK]
        share = ratio(one["goodput_texts_per_second"], peak["goodput_texts_per_second"])
        memory = ratio(one["resident_mib"], peak["resident_mib"])
        key = self.key
        return [
            at_least(key, f"{name}: goodput ÷ peak ≥ 0.90", share, 0.90, contender=name),
            at_most(key, f"{name}: memory ÷ at the peak ≤ 1.1", memory, 1.1, contender=name),
            *goals_of_refusals(key, name, one),
            no_failures(key, medians, name),
        ]

    def _saturating(self, seconds: float) -> Job:
        plan = [Planned(at, 0.0, _PATIENCE) for at in range(len(self._calls))]
        return self._job(plan, callers=_PEAK_CALLERS, seconds=seconds, repeats=True)

    def _arriving(self, contender: str, seconds: float) -> Job:
        if not self._peak:
            raise LoadError("the peak is not known")
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

    def _job(self, plan: Sequence[Planned], **loop: Any) -> Job:
        ours = self._bench.ours
        return Job(ours.address, ours.model, self._calls, plan, lane=pb.LANE_BULK, **loop)


def _goodput(report: Report, seconds: float) -> float:
    """Calls a second that were answered in time, from the ramp's end to the last arrival."""
    good = sum(_RAMP_SECONDS < one.ended <= seconds for one in report.of("OK"))
    return good / (seconds - _RAMP_SECONDS)


def _outcomes(report: Report) -> dict[str, float]:
    refused = report.of("RESOURCE_EXHAUSTED")
    counted = {
        "ok": len(report.of("OK")),
        "refused": len(refused),
        "looked_at": len(refused),
        "no_retry_info": sum(not one.has_retry_info for one in refused),
        "expired": len(report.of("DEADLINE_EXCEEDED")),
    }
    failed = len(report.outcomes) - counted["ok"] - counted["refused"] - counted["expired"]
    return {name: float(count) for name, count in {**counted, "failed": failed}.items()}

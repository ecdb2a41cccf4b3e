"""(c), its latency: short texts beside long ones, in one lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from encoder import h2load
from encoder.h2load import Arrivals, Load
from encoder.results import at_most, no_failures
from encoder.workloads.measuring import Meter, alone, answered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.bench import Bench
    from encoder.results import Goal, Results, Sample

ALONE = "short alone"
BESIDE = "short beside long"
LONG = "one long, bare"

_LOAD = 0.25
"""Of the machine, by the short texts; as much again by the long ones."""

_TIMES = 2
"""As long as other measurements, for a p99 of enough calls."""


class ShortBesideLong:
    """Short texts that arrive at random, and later long ones with them."""

    key = "c-latency"
    title = (
        "(c) short texts at a quarter of the machine, alone and beside as much load of 256 tokens"
    )
    rotates = True
    contenders = (LONG, ALONE, BESIDE)

    def __init__(self, bench: Bench, short: Sequence[str], long: Sequence[str]) -> None:
        self._bench = bench
        self._short = short
        self._long = long
        self._random = np.random.default_rng(0)

    def measure(self, contender: str) -> Sample:
        if contender == LONG:
            return alone(self._bench, self._long, self._bench.seconds / 2)
        arrivals = self._arrivals(
            self._short, _LOAD * self._bench.query_rate([[text] for text in self._short])
        )
        if contender == BESIDE:
            arrivals += self._arrivals(self._long, self._long_rate())
        target = self._bench.ours.target
        with Meter(target, self._bench.cpus) as meter:
            loads = h2load.open_loop(target, arrivals)
        short = answered(meter, Load.together(loads[: len(self._short)]))
        short["failed"] += sum(one.failed for one in loads[len(self._short) :])
        # not theirs alone where there are long ones
        del short["server_cpu_ms"]
        return short

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        bound = medians[ALONE]["p99_ms"] + medians[LONG]["p50_ms"]
        return [
            at_most(
                self.key,
                "p99 of short texts, ms ≤ without long ones + one longest run",
                medians[BESIDE]["p99_ms"],
                bound,
                contender=BESIDE,
            ),
            no_failures(self.key, medians, BESIDE),
        ]

    def _long_rate(self) -> float:
        by_itself = self._bench.ceiling.measure_alone(self._long, 0.5)
        return _LOAD * by_itself["texts_per_second"] * self._bench.cpus

    def _arrivals(self, texts: Sequence[str], rate: float) -> list[Arrivals]:
        wire, seconds = self._bench.ours.target.wire, _TIMES * self._bench.seconds
        each = rate / len(texts)
        return [
            Arrivals(wire, [text], h2load.poisson(each, seconds, self._random)) for text in texts
        ]

"""(f) Texts that come again and again, with the cache on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from encoder import h2load
from encoder.bench import ECHO
from encoder.callers import Job, Planned, work_off
from encoder.results import at_least, at_most, no_failures, ratio
from encoder.workloads.measuring import Meter, answered

if TYPE_CHECKING:
    from encoder.bench import Bench
    from encoder.results import Goal, Results, Sample

OFF = "cache off"
ON = "cache on"
HIT = "hit"

_TEXTS_A_CALL = 16
_VOCABULARY = 2_000
"""Texts that a call's are drawn from."""

_EXPONENT = 1.0
"""Of Zipf's law: the text of rank n comes in proportion to n ** -1."""

_CALLS_A_SECOND = 2_000
"""Calls drawn for a second's measurement: more than are made."""

_CALLERS = 8
_PATIENCE = 60.0
_WARM_SECONDS = 0.5


class Repeats:
    """Calls of 16 texts, each drawn by Zipf's law anew; the cache has seen none of a run's texts.

    So a run begins with misses only, and what they cost is part of its throughput.
    """

    key = "f"
    title = (
        f"(f) calls of 16 short texts, each drawn by Zipf's law from {_VOCABULARY:,} that are new "
        "to the cache, 8 callers"
    )
    rotates = True
    contenders = (OFF, ON)

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._random = np.random.default_rng(0)

    def measure(self, contender: str) -> Sample:
        encoder = self._bench.cached if contender == ON else self._bench.ours
        job = self._job(encoder.address)
        with Meter(encoder.target, self._bench.cpus) as meter:
            report = work_off(job)
        ok = report.of("OK")
        if not ok:
            raise encoder.target.process.error("answered no call of a load")
        texts = len(ok) * _TEXTS_A_CALL
        p50, p99 = np.percentile([one.latency for one in ok], (50, 99)) * 1e3
        hits, coalesced = (
            meter.change.sum(f"encoder_{name}_total") / texts
            for name in ("cache_hits", "coalesced")
        )
        return {
            "texts_per_second": texts / max(one.ended for one in ok),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "hit_share": hits,
            "coalesced_share": coalesced,
            "server_cpu_ms": meter.cpu_seconds / texts * 1e3,
            "generator_cpu_ms": report.cpu_seconds / texts * 1e3,
            "failed": float(len(report.outcomes) - len(ok)),
            **meter.costs(),
        }

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        share = ratio(medians[ON]["texts_per_second"], medians[OFF]["texts_per_second"])
        return [
            at_least(self.key, "throughput with the cache ÷ without ≥ 5", share, 5, contender=ON),
            no_failures(self.key, medians, ON),
            no_failures(self.key, medians, OFF),
        ]

    def _job(self, address: str) -> Job:
        # from the most to the least frequent, whatever their length
        texts = self._random.permutation(self._bench.texts.queries(_VOCABULARY)).tolist()
        weights = np.arange(1, _VOCABULARY + 1) ** -_EXPONENT
        calls = round(_CALLS_A_SECOND * self._bench.seconds)
        drawn = self._random.choice(_VOCABULARY, (calls, _TEXTS_A_CALL), p=weights / weights.sum())
        plan = [Planned(at, 0.0, _PATIENCE) for at in range(calls)]
        model, seconds = self._bench.model.name, self._bench.seconds
        return Job(
            address, model, [[texts[at] for at in call] for call in drawn], plan, _CALLERS, seconds
        )


class Hit:
    """One caller with one text that the cache holds."""

    key = "f-hit"
    title = "(f) one caller, one text that the cache holds"
    rotates = True
    contenders = (ECHO, HIT)

    def __init__(self, bench: Bench, query: str) -> None:
        self._bench = bench
        self._query = query

    def measure(self, contender: str) -> Sample:
        target = self._bench.cached.target if contender == HIT else self._bench.echo
        calls = [[self._query]]
        h2load.closed_loop(target, calls, callers=1, seconds=_WARM_SECONDS)
        with Meter(target, self._bench.cpus) as meter:
            load = h2load.closed_loop(target, calls, callers=1, seconds=self._bench.seconds)
        sample = answered(meter, load)
        if contender == HIT:
            sample["hit_share"] = meter.change.sum("encoder_cache_hits_total") / load.answered
        return sample

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        hit, bound = medians[HIT], medians[ECHO]["p50_ms"] + 0.1
        # calls that were under way at the end count as hits and not as answers
        hits = min(1.0, hit["hit_share"])
        return [
            at_most(self.key, "p50, ms ≤ echo + 0.1 ms", hit["p50_ms"], bound, contender=HIT),
            at_least(self.key, "answers that were hits: all", hits, 1, contender=HIT),
            no_failures(self.key, medians, HIT),
        ]

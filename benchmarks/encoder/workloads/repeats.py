"""(f) Texts that come again and again, with the cache on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from encoder import h2load
from encoder.bench import ECHO
from encoder.callers import Job, Planned, work_off
from encoder.results import at_least, at_most
from encoder.workloads.measuring import served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.bench import Bench
    from encoder.results import Goal, Results, Sample

OFF = "cache off"
ON = "cache on"
HIT = "hit"

_TEXTS_A_CALL = 16
_CALLS = 512
"""Different calls; callers go through them again and again."""

_EXPONENT = 1.0
"""Of Zipf's law: the text of rank n comes in proportion to n ** -1."""

_CALLERS = 8
_PATIENCE = 60.0
_WARM_SECONDS = 0.5


class Repeats:
    """Calls of 16 texts, drawn by Zipf's law; the cache has seen each of the calls once."""

    key = "f"
    title = "(f) calls of 16 short texts drawn by Zipf's law, 8 callers"
    rotates = True
    contenders = (OFF, ON)

    def __init__(self, bench: Bench, texts: Sequence[str]) -> None:
        """texts: from the most to the least frequent."""
        self._bench = bench
        random = np.random.default_rng(0)
        weights = np.arange(1, len(texts) + 1) ** -_EXPONENT
        drawn = random.choice(len(texts), (_CALLS, _TEXTS_A_CALL), p=weights / weights.sum())
        self._is_warm = False
        self._calls = [[texts[index] for index in call] for call in drawn]

    def measure(self, contender: str) -> Sample:
        encoder = self._bench.cached if contender == ON else self._bench.ours
        if contender == ON and not self._is_warm:
            work_off(self._job(encoder.address, 0.0))
            self._is_warm = True
        job = self._job(encoder.address, self._bench.seconds)
        cpu = encoder.target.process.cpu_seconds()
        hits = encoder.count("encoder_cache_hits_total")
        report = work_off(job)
        cpu = encoder.target.process.cpu_seconds() - cpu
        ok = report.of("OK")
        texts = len(ok) * _TEXTS_A_CALL
        p50, p99 = np.percentile([one.latency for one in ok], (50, 99)) * 1e3
        return {
            "texts_per_second": texts / max(one.ended for one in ok),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "server_cpu_ms": cpu / texts * 1e3,
            "generator_cpu_ms": report.cpu_seconds / texts * 1e3,
            "hit_share": (encoder.count("encoder_cache_hits_total") - hits) / texts,
            "failed": float(len(report.outcomes) - len(ok)),
        }

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        ratio = medians[ON]["texts_per_second"] / medians[OFF]["texts_per_second"]
        return [at_least(self.key, "throughput with the cache ÷ without ≥ 5", ratio, 5.0)]

    def _job(self, address: str, seconds: float) -> Job:
        plan = [Planned(at, 0.0, _PATIENCE) for at in range(_CALLS)]
        return Job(address, self._bench.model.name, self._calls, plan, _CALLERS, seconds)


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
        return served(
            target,
            1,
            lambda: h2load.closed_loop(target, calls, callers=1, seconds=self._bench.seconds),
        )

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        bound = medians[ECHO]["p50_ms"] + 0.1
        return [at_most(self.key, "p50, ms ≤ echo + 0.1 ms", medians[HIT]["p50_ms"], bound)]

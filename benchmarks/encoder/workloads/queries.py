"""(a) Callers with single short queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder import h2load
from encoder.bench import BARE, CEILING, ECHO, OURS
from encoder.results import at_least, at_most, best, no_failures, ratio
from encoder.sweep import Kind
from encoder.workloads.measuring import alone, at_ceiling, served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.bench import Bench
    from encoder.results import Goal, Medians, Results, Sample

_USUAL_CALLERS = 32
"""For whom throughput is held against others'."""

_WARM_SECONDS = 0.5
_MORE_MS = 0.3
"""What a call may cost beyond the bare model and, in latency, the echo."""


class Queries:
    """Single short queries from a number of callers, each of whom waits for the answer."""

    rotates = True

    def __init__(self, bench: Bench, queries: Sequence[str], callers: int) -> None:
        """queries: one for each h2load, of one or some of which each caller has one."""
        self._bench = bench
        self._queries = queries
        self._callers = callers
        self.key = f"a{callers}"
        self.title = f"(a) single short queries, {callers} caller{'s' * (callers > 1)}"

    @property
    def contenders(self) -> Sequence[str]:
        without_server = BARE if self._callers == 1 else CEILING
        return [without_server, *self._bench.peers.names, OURS, ECHO]

    def measure(self, contender: str) -> Sample:
        if contender == BARE:
            return alone(self._bench, self._queries, self._bench.seconds)
        if contender == CEILING:
            by_itself = alone(self._bench, self._queries, self._bench.seconds / 4)
            return {
                **at_ceiling(self._bench, "a", self._queries),
                # what a server's CPU is held against
                "alone_cpu_ms": by_itself["server_cpu_ms"],
            }
        target = self._bench.target(contender, Kind.QUERIES)
        calls = [[query] for query in self._queries]
        h2load.closed_loop(target, calls, callers=self._callers, seconds=_WARM_SECONDS)
        return served(
            self._bench,
            target,
            1,
            lambda: h2load.closed_loop(
                target, calls, callers=self._callers, seconds=self._bench.seconds
            ),
        )

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        if self._callers == 1:
            bound = medians[BARE]["p50_ms"] + medians[ECHO]["p50_ms"] + _MORE_MS
            sentence = "p50, ms ≤ bare + echo + 0.3 ms"
            return [
                at_most(self.key, sentence, medians[OURS]["p50_ms"], bound),
                no_failures(self.key, medians),
            ]
        found = self._against_others(medians) if self._callers == _USUAL_CALLERS else []
        if self._callers > _USUAL_CALLERS:
            usual = results.medians(f"a{_USUAL_CALLERS}")[OURS]["texts_per_second"]
            share = ratio(medians[OURS]["texts_per_second"], usual)
            found.append(at_least(self.key, "throughput ÷ that at 32 callers ≥ 0.9", share, 0.9))
        return [*found, no_failures(self.key, medians)]

    def _against_others(self, medians: Medians) -> list[Goal]:
        rate, ceiling = medians[OURS]["texts_per_second"], medians[CEILING]
        name, peer = best(medians, self._bench.peers.names, "texts_per_second")
        share = ratio(rate, ceiling["texts_per_second"])
        cpu, bound = medians[OURS]["server_cpu_ms"], ceiling["alone_cpu_ms"] + _MORE_MS
        return [
            at_least(self.key, f"throughput ÷ best peer ({name}) ≥ 2", ratio(rate, peer), 2.0),
            at_least(self.key, "throughput ÷ ceiling ≥ 0.70", share, 0.70),
            at_most(self.key, "server CPU a query, ms ≤ bare + 0.30 ms", cpu, bound),
        ]

"""(a) Callers with single short queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder import h2load
from encoder.bench import BARE, CEILING, ECHO, OURS
from encoder.results import at_least, at_most, best
from encoder.sweep import Kind
from encoder.workloads.measuring import alone, at_ceiling, not_ok, served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.bench import Bench
    from encoder.ours import Encoder
    from encoder.results import Goal, Results, Sample

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
        ours = self._bench.ours
        bad = not_ok(ours)
        batches, queries = _batches(ours)
        sample = served(
            target,
            1,
            lambda: h2load.closed_loop(
                target, calls, callers=self._callers, seconds=self._bench.seconds
            ),
        )
        sample["failed"] += not_ok(ours) - bad
        if contender == OURS:
            more_batches, more_queries = _batches(ours)
            sample["texts_a_batch"] = (more_queries - queries) / (more_batches - batches)
        return sample

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        ours = medians[OURS]
        if self._callers == 1:
            bound = medians[BARE]["p50_ms"] + medians[ECHO]["p50_ms"] + _MORE_MS
            return [
                at_most(self.key, "p50, ms ≤ bare + echo + 0.3 ms", ours["p50_ms"], bound),
            ]
        found = [
            at_most(self.key, "failures: none", ours["failed"], 0.0),
            *self._against_others(results),
        ]
        if "a32" in results and self.key != "a32":
            at_32 = results.medians("a32")[OURS]["texts_per_second"]
            share = ours["texts_per_second"] / at_32
            found.append(at_least(self.key, "throughput ÷ that at 32 callers ≥ 0.9", share, 0.9))
        return found

    def _against_others(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        rate = medians[OURS]["texts_per_second"]
        ceiling = medians[CEILING]
        found = []
        if self._bench.peers.names:
            name, peer = best(medians, self._bench.peers.names, "texts_per_second")
            found.append(
                at_least(self.key, f"throughput ÷ best peer ({name}) ≥ 2", rate / peer, 2.0)
            )
        share = rate / ceiling["texts_per_second"]
        found.append(at_least(self.key, "throughput ÷ ceiling ≥ 0.70", share, 0.70))
        cpu = medians[OURS]["server_cpu_ms"]
        bound = ceiling["alone_cpu_ms"] + _MORE_MS
        found.append(at_most(self.key, "server CPU a query, ms ≤ bare + 0.30 ms", cpu, bound))
        return found


def _batches(encoder: Encoder) -> tuple[float, float]:
    """Batches that were computed so far, and texts in them."""
    return encoder.count("encoder_batch_items_count"), encoder.count("encoder_batch_items_sum")

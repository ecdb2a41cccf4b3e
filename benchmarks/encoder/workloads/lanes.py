"""(d) Queries at half load, while bulk has whatever is left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from encoder import h2load
from encoder.h2load import Arrivals, Load
from encoder.results import at_least, at_most, no_failures, ratio
from encoder.wires import grpc_wire
from encoder.workloads.measuring import Meter
from searchmesh.encoder.v1 import encoder_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.bench import Bench
    from encoder.results import Goal, Results, Sample

QUERIES = "queries alone"
BULK = "bulk alone"
BOTH = "queries beside bulk"

_QUERY_LOAD = 0.5
_TIMES = 2
"""As long as other measurements, for a p99 of enough calls."""


class Lanes:
    """Queries that arrive at random in their lane, bulk callers without a pause in theirs."""

    key = "d"
    title = "(d) queries at half load, bulk of 16 passages a call in the rest"
    rotates = True
    contenders = (QUERIES, BULK, BOTH)

    def __init__(
        self, bench: Bench, queries: Sequence[str], passages: Sequence[Sequence[str]]
    ) -> None:
        """passages: the texts of each bulk caller's calls."""
        self._bench = bench
        self._queries = queries
        self._passages = passages
        self._random = np.random.default_rng(0)

    def measure(self, contender: str) -> Sample:
        # measured before the block, so that it is not counted
        rate = _QUERY_LOAD * self._bench.query_rate([[query] for query in self._queries])
        queries = bulk = None
        with (
            Meter(self._bench.ours.target, self._bench.cpus) as meter,
            ThreadPoolExecutor() as pool,
        ):
            if contender != QUERIES:
                bulk = pool.submit(self._bulk)
            if contender != BULK:
                queries = self._arrive(rate)
        found = {"failed": meter.not_ok()}
        if queries:
            found |= _answered(queries)
            found["failed"] += queries.failed
        if bulk:
            tokens = meter.change.sum("encoder_tokens_total", lane="bulk")
            found["bulk_tokens_per_second"] = tokens / meter.seconds
            found["failed"] += bulk.result().failed
        return {**found, **meter.costs()}

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        both, alone = medians[BOTH], medians[QUERIES]
        spare = (1 - _QUERY_LOAD) * medians[BULK]["bulk_tokens_per_second"]
        share = ratio(both["bulk_tokens_per_second"], spare)
        p99, bound = both["p99_ms"], 2 * alone["p99_ms"]
        return [
            at_most(self.key, "query p99, ms ≤ 2 x unloaded p99", p99, bound, contender=BOTH),
            at_least(self.key, "bulk ÷ spare capacity ≥ 0.70", share, 0.70, contender=BOTH),
            no_failures(self.key, medians, BOTH),
        ]

    def _arrive(self, rate: float) -> Load:
        """Queries at so many a second."""
        target, seconds = self._bench.ours.target, _TIMES * self._bench.seconds
        arrivals = [
            Arrivals(
                target.wire,
                [query],
                h2load.poisson(rate / len(self._queries), seconds, self._random),
            )
            for query in self._queries
        ]
        return Load.together(h2load.open_loop(target, arrivals))

    def _bulk(self) -> Load:
        bulk = self._bench.ours.called_by(grpc_wire(self._bench.model.name, pb.LANE_BULK))
        callers, seconds = len(self._passages), _TIMES * self._bench.seconds
        return h2load.closed_loop(bulk, self._passages, callers=callers, seconds=seconds)


def _answered(queries: Load) -> dict[str, float]:
    """The queries alone: what the server spends on them cannot be told from the bulk's."""
    p50, p99 = np.percentile(queries.latencies, (50, 99)) * 1e3
    return {
        "texts_per_second": queries.answered / queries.seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "generator_cpu_ms": queries.cpu_seconds / queries.answered * 1e3,
    }

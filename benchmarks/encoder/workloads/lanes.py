"""(d) Queries at half load, while bulk has whatever is left."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from encoder import h2load
from encoder.h2load import Arrivals, Load
from encoder.results import at_least, at_most, ratio
from encoder.wires import grpc_wire
from encoder.workloads.measuring import answered
from searchmesh.encoder.v1 import encoder_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from encoder.bench import Bench
    from encoder.results import Goal, Results, Sample

QUERIES = "queries alone"
BULK = "bulk alone"
BOTH = "queries beside bulk"

_QUERY_LOAD = 0.5


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
        if contender == BULK:
            return {"bulk_tokens_per_second": self._bulk_rate(self._bulk)}
        if contender == QUERIES:
            return answered(self._arrive())
        found: dict[str, float] = {}

        def both() -> None:
            bulk = threading.Thread(target=self._bulk)
            bulk.start()
            found.update(answered(self._arrive()))
            bulk.join()

        rate = self._bulk_rate(both)
        return {**found, "bulk_tokens_per_second": rate}

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        both, alone = medians[BOTH], medians[QUERIES]
        spare = (1 - _QUERY_LOAD) * medians[BULK]["bulk_tokens_per_second"]
        share = ratio(both["bulk_tokens_per_second"], spare)
        return [
            at_most(
                self.key, "query p99, ms ≤ 2 x unloaded p99", both["p99_ms"], 2 * alone["p99_ms"]
            ),
            at_least(self.key, "bulk ÷ spare capacity ≥ 0.70", share, 0.70),
        ]

    def _arrive(self) -> Load:
        target, seconds = self._bench.ours.target, self._bench.seconds
        rate = _QUERY_LOAD * self._bench.query_rate([[query] for query in self._queries])
        arrivals = [
            Arrivals(
                target.wire,
                [query],
                h2load.poisson(rate / len(self._queries), seconds, self._random),
            )
            for query in self._queries
        ]
        return Load.together(h2load.open_loop(target, arrivals))

    def _bulk_rate(self, run: Callable[[], None]) -> float:
        """Bulk tokens a second while something runs."""
        encoder = self._bench.ours
        tokens = encoder.count("encoder_tokens_total", lane="bulk")
        began = time.perf_counter()
        run()
        seconds = time.perf_counter() - began
        return (encoder.count("encoder_tokens_total", lane="bulk") - tokens) / seconds

    def _bulk(self) -> None:
        bulk = self._bench.ours.called_by(grpc_wire(self._bench.model.name, pb.LANE_BULK))
        callers = len(self._passages)
        h2load.closed_loop(bulk, self._passages, callers=callers, seconds=self._bench.seconds)

"""Every workload, with its texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder.sweep import Kind
from encoder.texts import WINDOW
from encoder.workloads.lanes import Lanes
from encoder.workloads.overload import Overload
from encoder.workloads.overload_of_queries import OverloadOfQueries
from encoder.workloads.passages import Bulk
from encoder.workloads.queries import Queries
from encoder.workloads.repeats import Hit, Repeats
from encoder.workloads.short_beside_long import ShortBesideLong
from searchmesh.encoder.v1 import encoder_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from encoder.bench import Bench, Workload

_QUERIES = 4
"""Different queries of a workload: each has an h2load of its own."""

_LONG = 2
_OVERLOAD_CALLS = 8


def workloads(bench: Bench) -> Sequence[Workload]:
    """In the order of the report."""
    texts, cpus = bench.texts, bench.cpus
    queries = texts.queries(_QUERIES)
    middle = [texts.text(10)]

    def calls(make: Callable[[int], list[str]], number: int, each: int) -> list[list[str]]:
        return [make(each) for _ in range(number)]

    return [
        Queries(bench, middle, 1),
        Queries(bench, queries, 32),
        Queries(bench, queries, 256),
        Bulk(
            bench,
            calls(texts.passages, 2 * cpus, 16),
            key="b16",
            lane=pb.LANE_BULK,
            title="(b) bulk passages of about 241 tokens, 16 a call, ours in the bulk lane",
            least_of_ceiling=0.95,
            least_useful=0.95,
        ),
        Bulk(
            bench,
            calls(texts.passages, cpus, 128),
            key="b128",
            lane=pb.LANE_BULK,
            title="(b) bulk passages of about 241 tokens, 128 a call, ours in the bulk lane",
            least_of_ceiling=0.95,
            least_useful=0.95,
        ),
        Bulk(
            bench,
            calls(texts.mixed, 2 * cpus, 32),
            key="c",
            lane=pb.LANE_QUERY,
            title="(c) texts of 4 to 256 tokens, 32 a call, ours in the query lane",
            least_of_ceiling=0.90,
            least_useful=0.0,
        ),
        ShortBesideLong(bench, queries, [texts.text(WINDOW) for _ in range(_LONG)]),
        Lanes(bench, queries, calls(texts.passages, 2 * cpus, 16)),
        Overload(bench, calls(texts.passages, _OVERLOAD_CALLS, 16)),
        OverloadOfQueries(bench, queries),
        Repeats(bench),
        Hit(bench, middle[0]),
    ]


def sweep_loads(bench: Bench) -> Mapping[Kind, Sequence[Sequence[str]]]:
    """What the peers' settings are chosen by: the texts of each caller's calls."""
    return {
        Kind.QUERIES: [[query] for query in bench.texts.queries(_QUERIES)],
        Kind.PASSAGES: [bench.texts.passages(16) for _ in range(2 * bench.cpus)],
    }

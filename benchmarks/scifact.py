"""SciFact through the mesh: import 5,183 abstracts, run the 300 test queries, judge the rankings.

    python benchmarks/scifact.py [--data FOLDER] [--json FILE]

fp32, whole documents, truncated to the model's window, dense search. Exits with 1 when nDCG@10 is
not the published 0.645 of all-MiniLM-L6-v2 (arXiv:2510.14880, tables 16 and 17) within 0.001.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_mesh import Stopwatch, local_mesh, resident_mib
from retrieval import RetrievalSet, load, ndcg
from rich.console import Console
from rich.progress import track

from searchmesh import Client, Document

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "all-minilm-l6-v2"
PUBLISHED_NDCG = 0.645
TOLERANCE = 0.001
DEPTH = 10

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Report:
    """What the run measured."""

    documents: int
    queries: int
    ndcg_at_10: float
    documents_per_second: float
    query_milliseconds_median: float
    query_milliseconds_p99: float
    resident_mib: dict[str, float]


def main() -> int:
    arguments = _arguments()
    if not (arguments.data / "corpus.jsonl").exists():
        print(f"no SciFact in {arguments.data}: name its folder with --data", file=sys.stderr)
        return 2
    data = load(arguments.data, "test")
    with (
        tempfile.TemporaryDirectory() as folder,
        local_mesh(arguments.home or Path(folder)) as (mesh, connection),
        Client(connection) as client,
    ):
        report = measure(client, data)
        report.resident_mib.update(resident_mib(mesh))
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(report), indent=2) + "\n")
    _print(report)
    return 0 if abs(report.ndcg_at_10 - PUBLISHED_NDCG) <= TOLERANCE else 1


def measure(client: Client, data: RetrievalSet) -> Report:
    """Import, search and judge, over a mesh that serves."""
    client.create_collection("scifact", model=MODEL)
    with Stopwatch() as importing:
        progress = client.import_documents("scifact", _documents(data)).wait()
    if progress.failures:
        raise SystemExit(f"{progress.failed_count} documents failed: {progress.failures[0]}")
    scores, milliseconds = [], []
    for query, text in track(data.queries.items(), "searching", console=console):
        with Stopwatch() as searching:
            hits = client.search("scifact", text, limit=DEPTH, output_fields=["$id"])
        milliseconds.append(searching.seconds * 1000)
        scores.append(ndcg([hit.id for hit in hits], data.relevant[query], DEPTH))
    return Report(
        documents=progress.stored_count,
        queries=len(scores),
        ndcg_at_10=statistics.mean(scores),
        documents_per_second=progress.stored_count / importing.seconds,
        query_milliseconds_median=statistics.median(milliseconds),
        query_milliseconds_p99=statistics.quantiles(milliseconds, n=100)[98],
        resident_mib={},
    )


def _documents(data: RetrievalSet) -> Iterator[Document]:
    for name, text in track(data.documents.items(), "importing", console=console):
        yield Document(name, text)


def _print(report: Report) -> None:
    print(f"documents              {report.documents}")
    print(f"queries                {report.queries}")
    print(f"nDCG@10                {report.ndcg_at_10:.4f}  (published: {PUBLISHED_NDCG})")
    print(f"documents per second   {report.documents_per_second:.1f}")
    print(f"query, median          {report.query_milliseconds_median:.1f} ms")
    print(f"query, 99th percentile {report.query_milliseconds_p99:.1f} ms")
    for name, mib in report.resident_mib.items():
        print(f"resident, {name:<12} {mib:.0f} MiB")


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("SEARCHMESH_SHARED", Path(__file__).parents[2] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=shared / "data" / "scifact", help="SciFact in BEIR's layout"
    )
    parser.add_argument("--home", type=Path, help="keep state here (default: a folder that goes)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

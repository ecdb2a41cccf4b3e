"""Imports by stage: how fast documents are received, encoded, stored and searchable.

    python benchmarks/imports.py [--engine URL] [--model NAME] [--short N] [--long N] [--flood N]
                                 [--json FILE]

Starts a mesh of its own with the encoder's cache off. For short documents (4 to 16 tokens) and long
ones (about 241) in turn: what the encoder's bulk lane computes of such texts when it is called
directly, before and after; queries without an import, and with one; the import itself, followed
with WatchImport. Then a flood of short documents, only to be received, while the search service's
memory is watched; what was not stored of it by then is cancelled. All callers are processes of
their own.

Exits with 0 when all was measured, whatever the verdicts on the goals.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import psutil
from encoder.model import model_files
from encoder.texts import Texts
from google.longrunning import operations_pb2, operations_pb2_grpc
from local_mesh import local_mesh

from searchmesh import Client, Service
from searchmesh.encoder.v1 import encoder_service_pb2 as encoder_pb
from searchmesh.encoder.v1 import encoder_service_pb2_grpc as encoder_grpc
from searchmesh.search.v1 import document_pb2, search_service_pb2, search_service_pb2_grpc
from searchmesh.search.v1 import document_service_pb2 as pb
from searchmesh.search.v1 import document_service_pb2_grpc as pb_grpc
from searchmesh.type.v1 import content_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from searchmesh.local import LocalMesh

GOAL_OF_BULK_RATE = 0.9
GOAL_RECEIVED_SECONDS_OF_100_000 = 10.0
GOAL_QUERY_P99 = 2.0
GOAL_MEMORY = 1.1

STAGES = ("received", "encoded", "stored", "searchable")

_A_MESSAGE = 500
"""Documents in one message of an import."""
_A_CALL = 64
"""Texts in one call of the encoder."""
_CALLS = 8
"""Calls of the encoder at once: more than it has workers."""
_QUERIES_A_SECOND = 10
_QUERY_SECONDS = 15
_KNOWN_SECONDS = 60
"""Until an import that is being sent is known."""
_WAIT_SECONDS = 1800


@dataclass
class Import:
    """One import as it was seen from outside."""

    documents: int
    seconds: dict[str, float]
    """From its beginning until each stage had all documents."""
    cpu_seconds: dict[str, float]
    """Of each process, until everything was searchable."""
    bulk_rate: float
    """Texts per second that the encoder computes alone, median of before and after."""
    query_p99_ms: dict[str, float]
    """Without the import, and during it."""

    @property
    def rates(self) -> dict[str, float]:
        """Documents per second by stage, from the import's beginning to the stage's end."""
        return {stage: self.documents / seconds for stage, seconds in self.seconds.items()}


@dataclass
class Flood:
    """An import that was only received."""

    documents: int
    seconds: float
    resident_mib: list[float]
    """Of the search service: after each tenth of the documents."""
    cpu_seconds: float


@dataclass
class Report:
    """What the run measured."""

    engine: str
    model: str
    imports: dict[str, Import] = field(default_factory=dict)
    flood: Flood | None = None


# What callers do, each in a process of its own


def encode_all(address: str, model: str, texts: Sequence[str]) -> float:
    """Texts per second through Encode in the bulk lane."""
    return asyncio.run(_encode_all(address, model, texts))


async def _encode_all(address: str, model: str, texts: Sequence[str]) -> float:
    calls = iter([texts[at : at + _A_CALL] for at in range(0, len(texts), _A_CALL)])
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = encoder_grpc.EncoderServiceStub(channel)
        await stub.ListModels(encoder_pb.ListModelsRequest(), wait_for_ready=True)

        async def caller() -> None:
            for call in calls:
                request = encoder_pb.EncodeRequest(
                    model=model,
                    contents=[content_pb2.Content(text=text) for text in call],
                    lane=encoder_pb.LANE_BULK,
                )
                await stub.Encode(request, timeout=_WAIT_SECONDS)

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(_CALLS)))
        return len(texts) / (time.perf_counter() - began)


def query(address: str, collection: str, texts: Sequence[str], over: Any) -> list[float]:
    """Milliseconds of queries that begin at a fixed pace, until `over` is set."""
    return asyncio.run(_query(address, collection, texts, over))


async def _query(address: str, collection: str, texts: Sequence[str], over: Any) -> list[float]:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = search_service_pb2_grpc.SearchServiceStub(channel)

        async def one(text: str, due: float) -> float:
            request = search_service_pb2.SearchRequest(collection=collection, text=text, limit=10)
            await stub.Search(request, timeout=60, wait_for_ready=True)
            return (time.perf_counter() - due) * 1000

        began, running = time.perf_counter(), []
        for number, text in enumerate(texts):
            due = began + number / _QUERIES_A_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if over.is_set():
                break
            running.append(asyncio.create_task(one(text, due)))
        return list(await asyncio.gather(*running))


def send(address: str, collection: str, request_id: str, texts: Sequence[str]) -> float:
    """Seconds until ImportDocuments answered."""
    messages = list(_messages(collection, request_id, texts))
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(60)
        stub: Any = pb_grpc.DocumentServiceStub(channel)
        began = time.perf_counter()
        stub.ImportDocuments(iter(messages), timeout=_WAIT_SECONDS)
        return time.perf_counter() - began


def _messages(
    collection: str, request_id: str, texts: Sequence[str]
) -> Iterator[pb.ImportDocumentsRequest]:
    yield pb.ImportDocumentsRequest(
        config=pb.ImportConfig(collection=collection, request_id=request_id)
    )
    for first in range(0, len(texts), _A_MESSAGE):
        documents = [
            document_pb2.Document(id=f"{first + at:07d}", content=content_pb2.Content(text=text))
            for at, text in enumerate(texts[first : first + _A_MESSAGE])
        ]
        yield pb.ImportDocumentsRequest(documents=documents)


class Bench:
    """One mesh, and what is asked of it."""

    def __init__(self, mesh: LocalMesh, client: Client, model: str, texts: Texts) -> None:
        self._mesh = mesh
        self._client = client
        self._model = model
        self._texts = texts
        self._encoder = client.connection.encoder
        self._search = client.connection.search
        self._spawn = multiprocessing.get_context("spawn")
        self._manager = self._spawn.Manager()
        self._callers = ProcessPoolExecutor(3, self._spawn)
        self._channel = grpc.insecure_channel(self._search)
        self._documents: Any = pb_grpc.DocumentServiceStub(self._channel)
        operations: Any = operations_pb2_grpc
        self._operations = operations.OperationsStub(self._channel)

    def close(self) -> None:
        self._channel.close()
        self._callers.shutdown()
        self._manager.shutdown()

    def measure(self, name: str, texts: Sequence[str], probes: Sequence[Sequence[str]]) -> Import:
        """One import and what it is compared with. probes: texts for the encoder alone."""
        self._client.create_collection(name, model=self._model)
        rates = [self._bulk_rate(probes[0])]
        alone = self._queries_for(name, _QUERY_SECONDS)
        over = self._manager.Event()
        queries = self._texts.queries(_WAIT_SECONDS)
        before = self._cpu_seconds()
        asking = self._callers.submit(query, self._search, name, queries, over)
        try:
            seconds = self._import(name, texts)
        finally:
            over.set()
        after = self._cpu_seconds()
        beside = asking.result()
        rates.append(self._bulk_rate(probes[1]))
        return Import(
            documents=len(texts),
            seconds=seconds,
            cpu_seconds={one: after[one] - before[one] for one in before},
            bulk_rate=statistics.median(rates),
            query_p99_ms={"without": _p99(alone), "during": _p99(beside)},
        )

    def flood(self, count: int) -> Flood:
        """Have short documents received, and no more."""
        self._client.create_collection("flood", model=self._model)
        texts = self._texts.queries(count)
        search = psutil.Process(self._mesh.started[Service.SEARCH].pid)
        samples: list[tuple[float, float]] = []
        before = _cpu(search)
        sending = self._callers.submit(send, self._search, "flood", "flood", texts)
        for seen in self._watch("operations/flood"):
            samples.append((seen.received_count / count, search.memory_info().rss / 2**20))
            if sending.done():
                break
        cpu = _cpu(search) - before
        self._operations.CancelOperation(
            operations_pb2.CancelOperationRequest(name="operations/flood"), timeout=60
        )
        tenths = [
            next((mib for share, mib in samples if share >= tenth / 10), samples[-1][1])
            for tenth in range(1, 11)
        ]
        return Flood(count, sending.result(), tenths, cpu)

    def _bulk_rate(self, texts: Sequence[str]) -> float:
        return self._callers.submit(encode_all, self._encoder, self._model, texts).result()

    def _queries_for(self, collection: str, seconds: float) -> list[float]:
        texts = self._texts.queries(int(seconds * _QUERIES_A_SECOND))
        return self._callers.submit(
            query, self._search, collection, texts, self._manager.Event()
        ).result()

    def _import(self, name: str, texts: Sequence[str]) -> dict[str, float]:
        began = time.perf_counter()
        sending = self._callers.submit(send, self._search, name, name, texts)
        reached: dict[str, float] = {}
        for seen in self._watch(f"operations/{name}"):
            if seen.failed_count:
                raise SystemExit(f"documents failed: {seen.failures[0]}")
            for stage in STAGES:
                if getattr(seen, f"{stage}_count") >= len(texts):
                    reached.setdefault(stage, time.perf_counter() - began)
        return {**reached, "received": sending.result()}

    def _watch(self, operation: str) -> Iterator[pb.ImportMetadata]:
        """What an import says of itself until it ends, from when it is known on."""
        request = pb.WatchImportRequest(name=operation)
        known, until = False, time.monotonic() + _KNOWN_SECONDS
        while not known:
            try:
                for seen in self._documents.WatchImport(request, timeout=_WAIT_SECONDS):
                    known = True
                    yield seen
            except grpc.RpcError as error:
                is_coming = not known and time.monotonic() < until
                if not is_coming or error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                time.sleep(0.01)

    def _cpu_seconds(self) -> dict[str, float]:
        return {
            str(service): _cpu(psutil.Process(child.pid))
            for service, child in self._mesh.started.items()
        }


def _cpu(process: psutil.Process) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def _p99(milliseconds: Sequence[float]) -> float:
    return statistics.quantiles(milliseconds, n=100)[98]


def main() -> int:
    """Measure, print and store."""
    arguments = _arguments()
    # what is measured is encoding, not remembering
    os.environ |= {"ENCODER_CACHE_BYTES": "0", "SEARCH_ENGINE": arguments.engine}
    os.environ["ENCODER_DEFAULT_MODEL"] = arguments.model
    report = Report(arguments.engine or "embedded", arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder)
        texts = Texts(model_files(arguments.model, home).tokenizer)
        with local_mesh(home) as (mesh, connection), Client(connection) as client:
            bench = Bench(mesh, client, arguments.model, texts)
            try:
                _measure(bench, texts, arguments, report)
            finally:
                bench.close()
    _print(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(report), indent=2) + "\n")
    return 0


def _measure(bench: Bench, texts: Texts, arguments: argparse.Namespace, report: Report) -> None:
    for name, count, some in (
        ("short", arguments.short, texts.queries),
        ("long", arguments.long, texts.passages),
    ):
        print(f"importing {count} {name} documents", file=sys.stderr)
        probes = [some(max(_A_CALL, count // 4)) for _ in range(2)]
        report.imports[name] = bench.measure(name, some(count), probes)
    print(f"receiving {arguments.flood} short documents", file=sys.stderr)
    report.flood = bench.flood(arguments.flood)


def _print(report: Report) -> None:
    print(f"engine {report.engine}, model {report.model}")
    for name, one in report.imports.items():
        print(f"\n{one.documents} {name} documents, {one.bulk_rate:.0f}/s by the encoder alone")
        for stage, rate in one.rates.items():
            print(f"  {stage:<11} {rate:8.0f} documents/s, all after {one.seconds[stage]:.1f} s")
        for process, seconds in one.cpu_seconds.items():
            print(f"  {process:<11} {seconds / one.documents * 1000:8.2f} ms of CPU a document")
        share = one.rates["searchable"] / one.bulk_rate
        print(_verdict("share of the bulk rate", share, GOAL_OF_BULK_RATE, at_least=True))
        p99 = one.query_p99_ms
        slower = p99["during"] / p99["without"]
        print(f"  query p99: {p99['without']:.0f} ms without, {p99['during']:.0f} ms during")
        print(_verdict("slower queries", slower, GOAL_QUERY_P99, at_least=False))
    if report.flood:
        _print_flood(report.flood)


def _print_flood(flood: Flood) -> None:
    print(f"\n{flood.documents} short documents only received: {flood.seconds:.1f} s")
    print(f"  search      {flood.cpu_seconds / flood.documents * 1000:8.2f} ms of CPU a document")
    for_100_000 = flood.seconds * 100_000 / flood.documents
    goal = GOAL_RECEIVED_SECONDS_OF_100_000
    print(_verdict("seconds for 100,000", for_100_000, goal, at_least=False))
    print("  resident, MiB:", *(f"{mib:.0f}" for mib in flood.resident_mib))
    growth = flood.resident_mib[-1] / flood.resident_mib[1]
    print(_verdict("growth after a fifth", growth, GOAL_MEMORY, at_least=False))


def _verdict(what: str, found: float, goal: float, *, at_least: bool) -> str:
    met = found >= goal if at_least else found <= goal
    bound = "at least" if at_least else "at most"
    return f"  {what}: {found:.2f}, {'met' if met else 'MISSED'} (goal: {bound} {goal:g})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="", metavar="URL", help="default: the embedded one")
    parser.add_argument("--model", default="all-minilm-l6-v2", help="default: all-minilm-l6-v2")
    parser.add_argument("--short", type=int, default=20_000, help="documents (default: 20000)")
    parser.add_argument("--long", type=int, default=1500, help="documents (default: 1500)")
    parser.add_argument("--flood", type=int, default=100_000, help="documents (default: 100000)")
    parser.add_argument("--home", type=Path, metavar="FOLDER", help="keeps built models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

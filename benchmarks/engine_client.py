"""What the embedded engine's client and file are worth: the figures of its decision note.

    python benchmarks/engine_client.py

Starts Milvus Lite in temporary folders, takes about a minute, and prints a table each for
the import, the clients, the size of a write and the file.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from searchmesh_search import milvus_messages as messages
from searchmesh_search.deadline import Deadline
from searchmesh_search.engine import CollectionSchema, Metric, Row
from searchmesh_search.milvus_calls import MilvusCalls, local_channel
from searchmesh_search.milvus_lite import MilvusLite
from searchmesh_search.milvus_stubs import milvus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

DIMENSION = 384
SCHEMA = CollectionSchema(DIMENSION, Metric.COSINE)
NAME = "bench"
SEARCHES = 320
VECTORS = np.random.default_rng(0).standard_normal((5000, DIMENSION), np.float32)


def soon() -> Deadline:
    return Deadline.after(120)


def rows(count: int, prefix: str) -> list[Row]:
    return [Row(f"{prefix}{at}", 1, 0, VECTORS[at % len(VECTORS)]) for at in range(count)]


async def fill(calls: MilvusCalls, count: int) -> None:
    """A collection of that many rows, as the engine's own adapter makes one."""
    await calls.call("CreateCollection", messages.create_collection(NAME, SCHEMA), soon())
    await calls.call("CreateIndex", messages.create_index(NAME, SCHEMA), soon())
    await calls.call("LoadCollection", milvus.LoadCollectionRequest(collection_name=NAME), soon())
    for start in range(0, count, 250):
        request = messages.upsert(NAME, SCHEMA, rows(250, f"{start}_"))
        insert = milvus.InsertRequest(
            collection_name=NAME, num_rows=250, fields_data=request.fields_data
        )
        await calls.call("Insert", insert, soon())


@asynccontextmanager
async def prepared() -> AsyncIterator[tuple[MilvusLite, MilvusCalls]]:
    """Milvus Lite as this service runs it, without a collection."""

    async def nothing() -> None: ...

    with tempfile.TemporaryDirectory() as folder:
        lite = MilvusLite(Path(folder) / "bench.db", nothing)
        await lite.start()
        await lite.wait_up(10)
        calls = MilvusCalls(local_channel(lite.address))
        yield lite, calls
        await calls.close()
        await lite.close()


@contextmanager
def as_it_comes() -> Iterator[str]:
    """Milvus Lite as its own package runs it; yields its address."""
    from milvus_lite.server import Server  # noqa: PLC0415 - warns, and only this wants it

    with tempfile.TemporaryDirectory() as folder:
        server = Server(str(Path(folder) / "bench.db"))
        assert server.start()
        yield server.uds_path
        server.stop()


async def loop_gaps(gaps: list[float]) -> None:
    """Notes how late a callback due every millisecond runs, in milliseconds."""
    while True:
        due = time.perf_counter() + 0.001
        await asyncio.sleep(0.001)
        gaps.append((time.perf_counter() - due) * 1e3)


async def measure(name: str, callers: int, search: Callable[[np.ndarray], Awaitable[Any]]) -> None:
    latencies: list[float] = []
    gaps: list[float] = []

    async def caller() -> None:
        for at in range(SEARCHES // callers):
            began = time.perf_counter()
            await search(VECTORS[at : at + 1])
            latencies.append((time.perf_counter() - began) * 1e3)

    await search(VECTORS[:1])
    watching = asyncio.create_task(loop_gaps(gaps))
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    watching.cancel()
    p50, p99 = np.percentile(latencies, (50, 99))
    print(
        f"{name:28}{callers:8}{p50:9.2f}{p99:9.2f}{SEARCHES / took:9.0f}"
        f"{cpu / SEARCHES * 1e3:12.2f}{np.percentile(gaps, 99):10.2f}{max(gaps):10.2f}"
    )


async def clients() -> None:
    print("\nclients: one search over 5,000 x 384, FLAT, cosine, limit 10")
    print(f"{'':28}{'callers':>8}{'p50 ms':>9}{'p99 ms':>9}{'per s':>9}{'CPU ms each':>12}"
          f"{'loop p99':>10}{'loop max':>10}")  # fmt: skip
    from pymilvus import AsyncMilvusClient, MilvusClient  # noqa: PLC0415

    async with prepared() as (lite, calls):
        await fill(calls, 5000)
        asynchronous = AsyncMilvusClient(uri=lite.address)
        blocking = MilvusClient(uri=lite.address)
        pool = ThreadPoolExecutor(16)
        options: dict[str, Any] = {
            "anns_field": "vector",
            "limit": 10,
            "output_fields": ["pk"],
            "timeout": 10,
        }

        async def by_stub(query: np.ndarray) -> None:
            request = messages.search(NAME, SCHEMA, query, 10, 0)
            answer = await calls.call("Search", request, soon())
            messages.hits_of(answer, SCHEMA.metric, 1)

        async def by_async(query: np.ndarray) -> None:
            await asynchronous.search(NAME, list(query), **options)

        async def by_threads(query: np.ndarray) -> None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(pool, lambda: blocking.search(NAME, list(query), **options))

        for callers in (1, 16):
            await measure("the stub (ours)", callers, by_stub)
            await measure("AsyncMilvusClient", callers, by_async)
            await measure("MilvusClient on 16 threads", callers, by_threads)
        await asynchronous.close()
        blocking.close()
        pool.shutdown()


async def write_sizes() -> None:
    print("\none write call: rows of 384 floats")
    print(f"{'rows':>8}{'KiB':>8}{'ms':>10}{'rows per s':>12}")
    async with prepared() as (_, calls):
        await fill(calls, 0)
        for count in (16, 64, 128, 256, 512, 1024, 2048):
            requests = [
                messages.upsert(NAME, SCHEMA, rows(count, f"{count}_{turn}_")) for turn in range(3)
            ]
            began = time.perf_counter()
            for request in requests:
                await calls.call("Upsert", request, soon())
            took = (time.perf_counter() - began) / len(requests)
            size = requests[0].ByteSize() / 1024
            print(f"{count:8}{size:8.0f}{took * 1e3:10.1f}{count / took:12.0f}")


async def write_times(name: str, calls: MilvusCalls) -> None:
    """Writes of one row into a collection of 20,000."""
    new = [messages.upsert(NAME, SCHEMA, rows(1, f"new{turn}_")) for turn in range(15)]
    old = [messages.delete(NAME, [one.key]) for one in rows(15, "250_")]
    print(f"{name:28}", end="")
    for method, requests in (("Upsert", new), ("Delete", old)):
        took = []
        for request in requests:
            began = time.perf_counter()
            await calls.call(method, request, soon())
            took.append((time.perf_counter() - began) * 1e3)
        print(f"{np.median(took):12.1f}", end="")
    print()


async def file_settings() -> None:
    print("\nthe file: one row written to a collection of 20,000 x 384, median ms")
    print(f"{'':28}{'upsert':>12}{'delete':>12}")
    with as_it_comes() as address:
        calls = MilvusCalls(local_channel(address))
        await fill(calls, 20_000)
        await write_times("as it comes", calls)
        await calls.close()
    async with prepared() as (lite, calls):
        await fill(calls, 20_000)
        await write_times("write-ahead log", calls)
        await lite.index_keys(NAME)
        await write_times("write-ahead log, key index", calls)


def imports(modules: Sequence[str]) -> None:
    print("import, in a fresh interpreter that has grpc and numpy")
    print(f"{'':40}{'ms':>8}{'MiB':>8}")
    for module in modules:
        code = (
            "import grpc, numpy, resource, time\n"
            "def used(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
            "began, before = time.perf_counter(), used()\n"
            f"import {module}\n"
            "print(time.perf_counter() - began, used() - before)"
        )
        runs = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
            for _ in range(3)
        ]
        seconds, size = min(tuple(map(float, run.stdout.split())) for run in runs)
        print(f"{module:40}{seconds * 1e3:8.0f}{size:8.0f}")


def main() -> None:
    imports(["pymilvus", "searchmesh_search.milvus_stubs"])
    for part in (clients, write_sizes, file_settings):
        asyncio.run(part())


if __name__ == "__main__":
    main()

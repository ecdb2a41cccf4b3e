"""How a search of the embedded engine slows with the rows of its collection.

    python benchmarks/embedded_rows.py [--rows 10000,30000,100000,300000]

Fills one collection of 384 floats with random unit vectors, step by step, and prints after each
step what searches take, one at a time and sixteen at once, what counting the rows takes, and the
memory of the engine. A few minutes on two CPUs. The default of SEARCH_EMBEDDED_ROWS_WARNING comes
from here (docs/decisions/second-engine.md).
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from searchmesh_search.engine import CollectionSchema, Metric, Row
from searchmesh_search.milvus_engine import MilvusEngine

if TYPE_CHECKING:
    from collections.abc import Sequence

DIMENSION = 384
NAME = "bench"
LIMIT = 10
SEARCHES = 200
AT_ONCE = 16
PER_INSERT = 2000
SECONDS = 120.0
QUERY_SEED = 1
"""No first row of an insert has this number."""


def unit_vectors(count: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSION), np.float32)
    unit: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


async def fill(engine: MilvusEngine, start: int, end: int) -> float:
    """Rows a second that were stored."""
    began = time.monotonic()
    for first in range(start, end, PER_INSERT):
        vectors = unit_vectors(min(PER_INSERT, end - first), first)
        rows = [Row(f"d{first + at}", 1, 0, vector) for at, vector in enumerate(vectors)]
        await engine.insert(NAME, rows, SECONDS)
    return (end - start) / (time.monotonic() - began)


async def search_ms(engine: MilvusEngine, queries: np.ndarray, at_once: int) -> np.ndarray:
    """(queries,) milliseconds of each search."""
    room = asyncio.Semaphore(at_once)

    async def one(query: np.ndarray) -> float:
        async with room:
            began = time.monotonic()
            await engine.search(NAME, query[None], LIMIT, SECONDS)
            return (time.monotonic() - began) * 1000

    return np.array(await asyncio.gather(*map(one, queries)))


async def count_ms(engine: MilvusEngine) -> float:
    began = time.monotonic()
    await engine.count_rows(NAME, SECONDS)
    return (time.monotonic() - began) * 1000


async def measure(steps: Sequence[int], folder: Path) -> None:
    engine = MilvusEngine(str(folder / "bench.db"))
    await engine.start()
    try:
        await engine.create_collection(NAME, CollectionSchema(DIMENSION, Metric.COSINE), SECONDS)
        assert engine.pid is not None
        process = psutil.Process(engine.pid)
        print(f"{'':>8}  {'one at a time':^17}  {f'{AT_ONCE} at once':^25}")
        print("    rows    p50 ms   p99 ms   p50 ms   p99 ms    per s  count ms  stored/s   MiB")
        stored = 0
        for step in steps:
            rate = await fill(engine, stored, step)
            stored = step
            queries = unit_vectors(SEARCHES, QUERY_SEED)
            await search_ms(engine, queries[:20], 1)
            alone = np.percentile(await search_ms(engine, queries, 1), [50, 99])
            began = time.monotonic()
            together = np.percentile(await search_ms(engine, queries, AT_ONCE), [50, 99])
            per_second = SEARCHES / (time.monotonic() - began)
            print(
                f"{stored:8} {alone[0]:9.1f} {alone[1]:8.1f} {together[0]:8.1f} "
                f"{together[1]:8.1f} {per_second:8.0f} {await count_ms(engine):9.1f} "
                f"{rate:9.0f} {process.memory_info().rss >> 20:5}",
                flush=True,
            )
    finally:
        await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", default="10000,30000,100000,300000", help="ascending")
    steps = [int(one) for one in parser.parse_args().rows.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(steps, Path(folder)))


if __name__ == "__main__":
    main()

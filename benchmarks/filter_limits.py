"""What long filters cost an engine, and where it gives up.

    python benchmarks/filter_limits.py [--engine http://host:19530] [--rows 20000]

Prints for filters of each shape and length how large they are as the engine is asked, and what a
query with them takes; or why it was refused. A minute or two. The limits in
services/search/milvus_capabilities.py come from here (docs/decisions/filters.md).
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np

from searchmesh_common.errors import ServiceError
from searchmesh_search import milvus_filters
from searchmesh_search.engine import (
    Capabilities,
    CollectionSchema,
    DeclaredField,
    FieldType,
    Metric,
    Row,
)
from searchmesh_search.filters.filter import (
    AllOf,
    AnyOf,
    Comparison,
    Inclusion,
    Not,
    Operator,
)
from searchmesh_search.milvus_engine import MilvusEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from searchmesh_search.filters.filter import Filter

NAME = "filter_limits"
FIELDS = (DeclaredField("n", FieldType.INT64), DeclaredField("s", FieldType.STRING))
LENGTHS = (10, 100, 1_000, 3_000, 10_000)
DEPTHS = (16, 32, 47, 48, 49, 50, 64, 128)
SECONDS = 60.0
REPEATS = 3


def _among_numbers(length: int) -> Filter:
    return Inclusion("n", tuple(range(1, length + 1)))


def _among_strings(length: int) -> Filter:
    return Inclusion("s", tuple(f"{place:05}{'x' * 95}" for place in range(length)))


def _among_long_strings(length: int) -> Filter:
    return Inclusion("s", tuple(f"{place:05}{'x' * 1595}" for place in range(length)))


def _not_among_numbers(length: int) -> Filter:
    return Not(_among_numbers(length))


def _any_of(length: int) -> Filter:
    return AnyOf(tuple(Comparison("n", Operator.EQUAL, one) for one in range(1, length + 1)))


def _all_of(length: int) -> Filter:
    return AllOf(tuple(Comparison("n", Operator.NOT_EQUAL, one) for one in range(1, length + 1)))


SHAPES: Mapping[str, Callable[[int], Filter]] = {
    "n IN (…)": _among_numbers,
    "s IN (…), 100 characters each": _among_strings,
    "s IN (…), 1600 characters each": _among_long_strings,
    "NOT n IN (…)": _not_among_numbers,
    "n = … OR n = …": _any_of,
    "n != … AND n != …": _all_of,
}


async def measure(engine: MilvusEngine, rows: int) -> None:
    await engine.create_collection(NAME, CollectionSchema(8, Metric.COSINE, fields=FIELDS), SECONDS)
    vectors = np.random.default_rng(0).standard_normal((rows, 8), np.float32)
    await engine.insert(
        NAME,
        [Row(f"d{at}", 1, 0, one, {"n": at, "s": f"v{at}"}) for at, one in enumerate(vectors)],
        SECONDS,
    )
    print(f"{engine.capabilities.name} {engine.capabilities.version}, {rows} rows")
    print(f"{'filter':32} {'terms':>6} {'KiB':>7} {'depth':>6} {'query ms':>9}")
    for shape, build in SHAPES.items():
        for length in LENGTHS:
            await report(engine, shape, length, build(length))
    await measure_depth(engine)


async def measure_depth(engine: MilvusEngine) -> None:
    """Of chains as they are written, which `milvus_filters` makes trees of."""
    for depth in DEPTHS:
        text = f"f_n == {depth}"
        for number in range(1, depth):
            text = f"(f_n == {number} or {text})"
        chain = milvus_filters.Expression(text, depth)
        with mock.patch.object(milvus_filters, "compiled", return_value=chain):
            await report(engine, "f_n == … or (f_n == … or (…", depth, _among_numbers(1))


async def report(engine: MilvusEngine, shape: str, length: int, where: Filter) -> None:
    dialect = milvus_filters.LITE if engine.pid else milvus_filters.SERVER
    asked = milvus_filters.compiled(where, FIELDS, dialect)
    kib = len(asked.text.encode()) / 1024
    try:
        taken = f"{await query_ms(engine, where):9.1f}"
    except ServiceError as error:
        taken = f"  {error.message[:100]}"
    print(f"{shape:32} {length:6} {kib:7.1f} {asked.depth:6} {taken}", flush=True)


async def query_ms(engine: MilvusEngine, where: Filter) -> float:
    """The best of a few."""
    taken = []
    for _ in range(REPEATS):
        began = time.monotonic()
        await engine.query(NAME, where, 100, SECONDS)
        taken.append((time.monotonic() - began) * 1000)
    return min(taken)


async def run(uri: str, rows: int) -> None:
    engine = MilvusEngine(uri)
    await engine.start()
    try:
        while not engine.capabilities.version:
            await engine.ping(SECONDS)
        await engine.drop_collection(NAME, SECONDS)
        with mock.patch.object(Capabilities, "require_filter"):
            await measure(engine, rows)
        await engine.drop_collection(NAME, SECONDS)
    finally:
        await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", default="", help="a server's URI; the embedded one by default")
    parser.add_argument("--rows", type=int, default=20_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(given.engine or str(Path(folder) / "bench.db"), given.rows))


if __name__ == "__main__":
    main()

"""Engines for tests: started on a folder, and closed with all their processes."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from searchmesh_common.errors import DeadlineExceeded, Unavailable
from searchmesh_search.engine import CollectionSchema, Metric, Row, VectorKind
from searchmesh_search.milvus_engine import MilvusEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from .milvus_server import MilvusServer

SOON = 20.0
"""Seconds that no call of a test takes unless something hangs."""

ENGINES = ("milvus-lite", pytest.param("milvus", marks=pytest.mark.server))
"""Every one of them must pass the contract's tests."""


def server_of(name: str, request: pytest.FixtureRequest) -> str:
    """Where the engine of that name is, empty for the embedded one; skips where a server is not
    installed."""
    if name == "milvus-lite":
        return ""
    server: MilvusServer = request.getfixturevalue("milvus_server")
    return server.uri


@asynccontextmanager
async def started(name: str, folder: Path, server: str = "") -> AsyncIterator[MilvusEngine]:
    engine = MilvusEngine(server or str(folder / "milvus.db"))
    assert engine.capabilities.name == name
    await engine.start()
    try:
        await until_up(engine)
        yield engine
    finally:
        await engine.close()


@contextmanager
def between_runs(
    name: str, folder: Path, server: str = ""
) -> Iterator[tuple[asyncio.Runner, MilvusEngine]]:
    """An engine that outlives the coroutines of a test that is none itself, with what runs them."""
    with asyncio.Runner() as runner:
        starting = started(name, folder, server)
        engine = runner.run(starting.__aenter__())
        try:
            yield runner, engine
        finally:
            runner.run(starting.__aexit__(None, None, None))


async def until_up(engine: MilvusEngine) -> float:
    """Wait until the engine answers; returns the seconds that took."""
    began = time.monotonic()
    while True:
        try:
            await engine.ping(1.0)
        except (Unavailable, DeadlineExceeded):
            assert time.monotonic() < began + SOON, "the engine does not come up"
            await asyncio.sleep(0.01)
        else:
            return time.monotonic() - began


def schema(dimension: int = 8, metric: Metric = Metric.COSINE, **others: Any) -> CollectionSchema:
    kind = VectorKind.BINARY if metric in {Metric.JACCARD, Metric.HAMMING} else VectorKind.FLOAT
    return CollectionSchema(dimension, metric, kind, **others)


def vectors(count: int, dimension: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dimension), np.float32)


def row(document_id: str, vector: np.ndarray, /, generation: int = 1, **fields: Any) -> Row:
    return Row(document_id, generation, 0, vector, fields)


def rows(given: np.ndarray, prefix: str = "d") -> list[Row]:
    return [row(f"{prefix}{place}", vector) for place, vector in enumerate(given)]

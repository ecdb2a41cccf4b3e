"""Scores of our own against an engine's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from searchmesh_search.engine import BINARY_METRICS, Metric, Row
from searchmesh_search.similarity import similarities

from .engines import SOON, schema, vectors

if TYPE_CHECKING:
    from searchmesh_search.milvus_engine import MilvusEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")


def rows_of(metric: Metric, count: int, seed: int) -> np.ndarray:
    given = vectors(count, 16, seed)
    return np.packbits(given > 0, axis=1) if metric in BINARY_METRICS else given


@pytest.mark.parametrize("metric", Metric)
async def test_scores_are_those_of_the_engine(engine: MilvusEngine, metric: Metric) -> None:
    held, queries = rows_of(metric, 20, seed=1), rows_of(metric, 3, seed=2)
    queries[0] = held[0]
    if metric is not Metric.COSINE:
        held[1] = queries[1] = 0
    name = f"similar_{metric.value}"
    await engine.create_collection(name, schema(16, metric), SOON)
    rows = [Row(str(place), 1, 0, vector) for place, vector in enumerate(held)]
    await engine.insert(name, rows, SOON)
    for query, scores in zip(queries, similarities(queries, held, metric), strict=True):
        (near,) = await engine.search(name, query[None], 20, SOON)
        expected = {hit.document_id: hit.score for hit in near}
        for place, score in enumerate(scores):
            assert score == pytest.approx(expected[str(place)], abs=1e-3), (metric, place)


async def test_nothing_is_like_nothing() -> None:
    none = np.zeros((0, 4), np.float32)
    assert similarities(none, np.ones((3, 4), np.float32), Metric.COSINE).shape == (0, 3)
    bits = np.zeros((0, 1), np.uint8)
    assert similarities(bits, np.ones((3, 1), np.uint8), Metric.JACCARD).shape == (0, 3)

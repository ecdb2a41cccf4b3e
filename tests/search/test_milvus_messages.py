"""Keys and vectors survive the way into Milvus's messages and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common import packed_floats
from searchmesh_search import milvus_messages as messages
from searchmesh_search.engine import Metric
from searchmesh_search.milvus_keys import quote_key, unquote_key
from searchmesh_search.milvus_stubs import milvus, schema


@given(st.text(st.one_of(st.sampled_from("%'\"\\2572C#"), st.characters())))
def test_a_quoted_key_comes_back(key: str) -> None:
    quoted = quote_key(key)
    assert unquote_key(quoted) == key
    assert not set("'\"\\") & set(quoted)


@given(st.text(), st.text())
def test_two_keys_stay_two(one: str, other: str) -> None:
    assert (quote_key(one) == quote_key(other)) == (one == other)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 4095, 4096, 600_000])
def test_the_wire_form_of_floats(count: int) -> None:
    values = np.random.default_rng(0).standard_normal(count, np.float32)
    array = schema.FloatArray()
    packed_floats.write(array, values)
    assert array == schema.FloatArray(data=values.tolist())
    if count:
        np.testing.assert_array_equal(packed_floats.read(array, count), values)


@pytest.mark.parametrize(
    ("metric", "given_score", "score"),
    [
        (Metric.COSINE, 1.000000238418579, 1.0),
        (Metric.COSINE, -1.0000001, -1.0),
        (Metric.COSINE, 0.25, 0.25),
        (Metric.INNER_PRODUCT, 53.5, 53.5),
        (Metric.EUCLIDEAN, 16.0, -4.0),
        (Metric.EUCLIDEAN, -1e-7, 0.0),
        (Metric.JACCARD, 0.25, 0.75),
        (Metric.HAMMING, 22.0, -22.0),
    ],
)
def test_scores_are_higher_for_the_better(metric: Metric, given_score: float, score: float) -> None:
    results = schema.SearchResultData(
        ids=schema.IDs(str_id=schema.StringArray(data=["it%27s#2#1#0"])),
        scores=[given_score],
        topks=[1],
    )
    ((hit,),) = messages.hits_of(milvus.SearchResults(results=results), metric, 1)
    assert (hit.document_id, hit.generation, hit.segment) == ("it's#2", 1, 0)
    assert hit.score == pytest.approx(score, rel=1e-6)

"""The graph that we build is the original model, and gives a text the same bits in any company."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from searchmesh_encoder.content import Content
from searchmesh_encoder.models.card import Modality, Precision
from searchmesh_encoder.prepared import PrepareOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_encoder.text_model import TextModel

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "data" / "reference_vectors.json").read_text(encoding="utf-8")
)

MANY_LENGTHS = (*range(3, 36), 47, 48, 63, 64, 65, 90, 127, 128, 129, 255, 256)


def text_of(tokens: int) -> np.ndarray:
    """A text of so many tokens, other ones for every length."""
    random = np.random.default_rng(tokens)
    inner = random.integers(1000, 30_000, tokens - 2)
    return np.array([101, *inner, 102], np.int64)


def encode(model: TextModel, texts: Sequence[np.ndarray]) -> list[bytes]:
    vectors = model.run(texts)
    assert all(isinstance(vector, np.ndarray) for vector in vectors)
    return [vector.tobytes() for vector in vectors if isinstance(vector, np.ndarray)]


class Alone:
    """The bits of the text of each length, encoded alone."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self._bits: dict[int, bytes] = {}

    def __getitem__(self, tokens: int) -> bytes:
        if tokens not in self._bits:
            (self._bits[tokens],) = encode(self._model, [text_of(tokens)])
        return self._bits[tokens]


@pytest.fixture(scope="module", params=["minilm", "minilm_int8"])
def model(request: pytest.FixtureRequest) -> TextModel:
    """Ours in each precision."""
    found: TextModel = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def alone(model: TextModel) -> Alone:
    return Alone(model)


@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: ascii(case["text"][:20]))
def test_equals_the_original(model: TextModel, case: dict[str, Any]) -> None:
    content = Content(Modality.TEXT, case["text"])
    prepared = model.prepare(content, PrepareOptions())
    assert prepared.tokens == case["tokens"]
    assert prepared.original_tokens == case["original_tokens"]
    (vector,) = model.run([prepared.parts[0].payload])
    assert isinstance(vector, np.ndarray)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    least = 0.99999 if model.card.precision is Precision.FP32 else 0.99
    assert vector @ np.array(case["vector"]) >= least


@pytest.mark.parametrize("tokens", MANY_LENGTHS)
def test_padding_changes_no_bit(model: TextModel, alone: Alone, tokens: int) -> None:
    for longer in {tokens + 1, tokens + 4, tokens + 9, tokens + 30} & set(range(257)):
        assert encode(model, [text_of(tokens), text_of(longer)])[0] == alone[tokens]


@pytest.mark.parametrize("texts", range(1, 33))
def test_batch_size_changes_no_bit(model: TextModel, alone: Alone, texts: int) -> None:
    lengths = [3 + (7 * index) % 11 for index in range(texts)]
    assert encode(model, [text_of(one) for one in lengths]) == [alone[one] for one in lengths]


@pytest.mark.slow
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lengths=st.lists(st.integers(3, 100), min_size=1, max_size=12))
def test_company_changes_no_bit(model: TextModel, alone: Alone, lengths: list[int]) -> None:
    assert encode(model, [text_of(one) for one in lengths]) == [alone[one] for one in lengths]


def test_threads_change_no_bit(model: TextModel, alone: Alone) -> None:
    random = np.random.default_rng(0)
    batches = [random.integers(3, 33, count).tolist() for count in random.integers(1, 9, 24)]
    for length in {length for lengths in batches for length in lengths}:
        assert alone[length]

    def same(lengths: list[int]) -> bool:
        found = encode(model, [text_of(one) for one in lengths])
        return found == [alone[one] for one in lengths]

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(same, batches))

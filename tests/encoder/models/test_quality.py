"""A model whose vectors are not near enough those of fp32 does not serve."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from searchmesh_common.errors import FailedPrecondition
from searchmesh_encoder.models.card import Precision, read_card
from searchmesh_encoder.models.quality import LEAST, Agreement, Golden, check_quality
from searchmesh_encoder.models.store import ModelStore
from searchmesh_encoder.text_model import TextModel
from tests.encoder.conftest import ignore_progress
from tests.encoder.models.golden import vectors_of
from tests.models import write_text_model

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ["a", "one two", "three four five", "6 7 8 9"]


def test_our_int8_passes_and_so_does_the_original(
    minilm: TextModel, minilm_int8: TextModel
) -> None:
    for model in (minilm, minilm_int8):
        assert model.card.golden
        golden = Golden.read(model.card.golden)
        agreement = golden.agreement(vectors_of(model, golden.texts))
        check_quality(agreement, model.card.precision)
        assert agreement.minimum >= LEAST[model.card.precision].minimum


def load(folder: Path, golden: Golden | bytes) -> TextModel:
    path = folder / "golden.json"
    path.write_bytes(golden) if isinstance(golden, bytes) else golden.write(path)
    card = read_card(write_text_model(folder, golden=path.name))
    built = ModelStore(folder / "models").built(card, ignore_progress)
    return TextModel(card, built, max_characters=1000)


def test_a_model_that_computes_otherwise_is_refused_with_the_figures(
    tmp_path: Path, tiny: TextModel
) -> None:
    vectors = vectors_of(tiny, TEXTS).astype(np.float16)
    assert load(tmp_path, Golden(TEXTS, vectors)).card.golden
    vectors[1] = -vectors[1]
    with pytest.raises(
        FailedPrecondition, match=r"cosine 0\.5000 in the mean and -1\.0000"
    ) as found:
        load(tmp_path, Golden(TEXTS, vectors))
    assert found.value.reason == "POOR_QUALITY"


@pytest.mark.parametrize(
    "golden",
    [
        b"",
        b"{}",
        b"[]",
        b'{"texts": ["a"], "dimension": 16, "vectors": "AA"}',
        Golden(["a"], np.ones((1, 8), np.float16)),
    ],
)
def test_refuses_what_holds_no_vectors_of_the_model(tmp_path: Path, golden: Golden | bytes) -> None:
    with pytest.raises(FailedPrecondition) as found:
        load(tmp_path, golden)
    assert found.value.reason == "BAD_GOLDEN"


@pytest.mark.parametrize("precision", Precision)
def test_mean_and_minimum_must_both_be_reached(precision: Precision) -> None:
    least = LEAST[precision]
    check_quality(least, precision)
    for lower in (
        dataclasses.replace(least, mean=least.mean - 1e-5),
        dataclasses.replace(least, minimum=least.minimum - 1e-5),
    ):
        with pytest.raises(FailedPrecondition):
            check_quality(lower, precision)


def test_what_is_not_a_number_agrees_with_nothing() -> None:
    golden = Golden(["a", "b"], np.ones((2, 4), np.float16))
    vectors = np.array([[1, 1, 1, 1], [1, 1, np.nan, 1]], np.float32)
    assert golden.agreement(vectors) == Agreement(mean=0.0, minimum=-1.0)

"""The models that we build find what the original finds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from .scifact import FOLDER, ndcg

if TYPE_CHECKING:
    from searchmesh_encoder.text_model import TextModel

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not FOLDER.exists(), reason=f"SciFact is not at {FOLDER}"),
]

SLICE = 400
"""Documents that every run searches, all relevant ones among them."""


@pytest.fixture(params=["minilm", "minilm_int8"])
def model(request: pytest.FixtureRequest) -> TextModel:
    """Ours in each precision."""
    found: TextModel = request.getfixturevalue(request.param)
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)  # less than a minute of CPU, which others may use too
def test_a_slice(model: TextModel, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(model, capsys, SLICE)
    expected = {"all-minilm-l6-v2": 0.852, "all-minilm-l6-v2-int8": 0.850}[model.name]
    assert found == pytest.approx(expected, abs=0.002)


@pytest.mark.quality
@pytest.mark.timeout(1800)  # a whole corpus, on CPUs that others may use too
def test_the_whole_corpus(model: TextModel, capsys: pytest.CaptureFixture[str]) -> None:
    found = measured(model, capsys)
    if model.name == "all-minilm-l6-v2":
        assert found == pytest.approx(0.645, abs=0.001)  # as published, arXiv:2510.14880
    assert found >= 0.640


def measured(
    model: TextModel, capsys: pytest.CaptureFixture[str], most_documents: int | None = None
) -> float:
    started = time.process_time()
    found = ndcg(model, most_documents)
    seconds = time.process_time() - started
    of = f"{most_documents} documents" if most_documents else "all documents"
    with capsys.disabled():
        print(f"\nSciFact nDCG@10 of {model.name}, {of}: {found:.4f}, {seconds:.0f} CPU-seconds")
    return found

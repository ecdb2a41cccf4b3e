"""The model that we build finds what the original finds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from .scifact import FOLDER, ndcg

if TYPE_CHECKING:
    from searchmesh_encoder.text_model import TextModel


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.timeout(1800)  # a whole corpus, on CPUs that others may use too
@pytest.mark.skipif(not FOLDER.exists(), reason=f"SciFact is not at {FOLDER}")
def test_scifact(minilm: TextModel, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    found = ndcg(minilm)
    seconds = time.monotonic() - started
    with capsys.disabled():
        print(f"\nSciFact nDCG@10 of {minilm.name}: {found:.4f}, in {seconds:.0f} s")
    assert found == pytest.approx(0.645, abs=0.001)

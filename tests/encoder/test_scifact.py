"""The model that we build finds what the original finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .scifact import FOLDER, ndcg

if TYPE_CHECKING:
    from searchmesh_encoder.text_model import TextModel


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.timeout(900)
@pytest.mark.skipif(not FOLDER.exists(), reason=f"SciFact is not at {FOLDER}")
def test_scifact(minilm: TextModel) -> None:
    found = ndcg(minilm)
    print(f"SciFact nDCG@10 of {minilm.name}: {found:.4f}")
    assert found == pytest.approx(0.645, abs=0.001)

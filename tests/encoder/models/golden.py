"""Writes the vectors of a golden file anew, for the texts that it holds.

    python -m tests.encoder.models.golden all-minilm-l6-v2

To be run with an fp32 model whose vectors were compared with the original's (test_bert.py).
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from searchmesh_encoder.content import Content
from searchmesh_encoder.models.card import Modality
from searchmesh_encoder.models.catalogue import OWN_CARDS, read_catalogue
from searchmesh_encoder.models.quality import Golden
from searchmesh_encoder.models.store import ModelStore
from searchmesh_encoder.prepared import PrepareOptions
from searchmesh_encoder.text_model import TextModel
from tests.encoder.conftest import ignore_progress

if TYPE_CHECKING:
    from collections.abc import Sequence


def vectors_of(model: TextModel, texts: Sequence[str]) -> np.ndarray:
    """(texts, dimension) float32, each text computed alone."""
    rows = []
    for text in texts:
        prepared = model.prepare(Content(Modality.TEXT, text), PrepareOptions())
        (vector,) = model.run([prepared.parts[0].payload])
        assert isinstance(vector, np.ndarray)
        rows.append(vector)
    return np.stack(rows)


def main(name: str) -> None:
    """name: of an fp32 model of ours, and of its golden file."""
    path = OWN_CARDS / f"{name}.golden.json"
    texts = Golden.read(path).texts
    card = dataclasses.replace(read_catalogue()[name], golden=None)
    with tempfile.TemporaryDirectory() as folder:
        built = ModelStore(Path(folder)).built(card, ignore_progress)
        vectors = vectors_of(TextModel(card, built, max_characters=10_000), texts)
    Golden(texts, vectors.astype(np.float16)).write(path)


if __name__ == "__main__":
    main(sys.argv[1])

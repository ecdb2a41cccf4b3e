"""What this CPU makes of int8, as JSON: run natively and under an emulated CPU, and compared.

    python -m tests.encoder.models.emulated FOLDER

FOLDER: where the small model is built, or was. Wrong cells of each form of operands, of products in
the form that a load chooses, and the vectors of texts of many lengths, as hexadecimal digits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from searchmesh_encoder.models.card import read_card
from searchmesh_encoder.models.operands import OperandForm, exact_form, load_exact, wrong_cells
from searchmesh_encoder.models.store import ModelStore
from searchmesh_encoder.text_model import TextModel
from tests.encoder.conftest import ignore_progress
from tests.models import WINDOW, write_text_model

from .reference import product, product_graph


def main(folder: Path) -> None:
    """Print the findings."""
    card = read_card(write_text_model(folder, precision="int8"))
    built = ModelStore(folder / "models").built(card, ignore_progress)
    model = TextModel(card, built, max_characters=1000)
    random = np.random.default_rng(0)
    texts = [random.integers(4, 70, length) for length in range(3, WINDOW + 1)]
    alone = [_bits(model, [text])[0] for text in texts]
    findings = {
        "fingerprint": model.fingerprint,
        "form": exact_form().value,
        "wrong_cells": {form.value: wrong_cells(form) for form in OperandForm},
        "wrong_products": _wrong_products(folder),
        "changed_in_company": sum(
            one != other for one, other in zip(alone, _bits(model, texts), strict=True)
        ),
        "vectors": alone,
    }
    print(json.dumps(findings))


def _bits(model: TextModel, texts: list[np.ndarray]) -> list[str]:
    vectors = model.run(texts)
    return [vector.tobytes().hex() for vector in vectors if isinstance(vector, np.ndarray)]


def _wrong_products(folder: Path) -> int:
    """Cells that are not what the definition says, of a layer as wide as MiniLM's widest."""
    random = np.random.default_rng(1)
    kernel = random.normal(size=(1536, 48)).astype(np.float32)
    x = random.normal(size=(2, 8, 1536)).astype(np.float32)
    path = folder / "product.onnx"
    path.write_bytes(product_graph(kernel).SerializeToString())
    found = load_exact(path).run({"x": x, "tokens": np.zeros((2, 8), np.int64)})
    return int(np.count_nonzero(found != product(x, kernel)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

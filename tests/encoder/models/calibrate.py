"""Writes the smoothing of an int8 model, from what its activations are like.

    python -m tests.encoder.models.calibrate all-minilm-l6-v2-int8

They are taken from texts of random tokens, many of them of a single one: what is largest hardly
depends on the text, and no text that the model is judged by has a part in it. The card's sha256 of
the file is to be written by hand; the fingerprint changes with it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper
from safetensors.numpy import load_file

from searchmesh_encoder.models.bert import build_bert
from searchmesh_encoder.models.card import Precision
from searchmesh_encoder.models.catalogue import OWN_CARDS, read_catalogue
from searchmesh_encoder.models.smoothing import smoothing_exponents
from searchmesh_encoder.models.sources import fetch
from searchmesh_encoder.onnx_backend import OnnxModel
from tests.encoder.conftest import ignore_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from searchmesh_encoder.models.card import ModelCard

LENGTHS = (*[3] * 150, *range(4, 64), *range(4, 64), 128, 256)


def smoothed(layers: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Each LayerNorm whose output is multiplied, and the weights that it is multiplied with."""
    norm = "embeddings.LayerNorm"
    for layer in (f"encoder.layer.{index}" for index in range(layers)):
        attention = f"{layer}.attention"
        yield norm, [f"{attention}.self.{one}.weight" for one in ("query", "key", "value")]
        yield f"{attention}.output.LayerNorm", [f"{layer}.intermediate.dense.weight"]
        norm = f"{layer}.output.LayerNorm"


def largest(
    weights: Mapping[str, np.ndarray], card: ModelCard, names: Sequence[str]
) -> Mapping[str, np.ndarray]:
    """The largest magnitude of each component of the named values, (dimension,) float32."""
    graph = build_bert(weights, card.bert, Precision.FP32)
    graph.graph.node.append(helper.make_node("Concat", names, ["all"], axis=-1))
    output = helper.make_tensor_value_info("all", TensorProto.FLOAT, None)
    graph.graph.output[0].CopyFrom(output)
    model = OnnxModel(graph.SerializeToString())
    random = np.random.default_rng(0)
    found = np.zeros(len(names) * card.dimension, np.float32)
    for length in LENGTHS:
        ids = np.zeros((1, -(-length // 4) * 4), np.int64)
        ids[0, :length] = [101, *random.integers(1000, 30_000, length - 2), 102]
        mask = np.arange(ids.shape[1])[None] < length
        values = model.run({"input_ids": ids, "attention_mask": mask.astype(np.int64)})
        found = np.maximum(found, np.abs(values[0, :length]).max(axis=0))
    return dict(zip(names, np.split(found, len(names)), strict=True))


def main(name: str) -> None:
    """name: of an int8 model of ours."""
    card = read_catalogue()[name]
    with tempfile.TemporaryDirectory() as folder:
        weights = load_file(fetch(card.weights, Path(folder), ignore_progress))
    layers = sum(one.endswith("attention.self.query.weight") for one in weights)
    pairs = dict(smoothed(layers))
    sizes = largest(weights, card, list(pairs))
    exponents = {
        norm: smoothing_exponents(
            sizes[norm], np.concatenate([weights[one].T for one in kernels], 1)
        )
        for norm, kernels in pairs.items()
    }
    content = {norm: one.tolist() for norm, one in exponents.items()}
    path = OWN_CARDS / f"{name}.smoothing.json"
    path.write_text(json.dumps(content, indent=None).replace("], ", "],\n") + "\n")


if __name__ == "__main__":
    main(sys.argv[1])

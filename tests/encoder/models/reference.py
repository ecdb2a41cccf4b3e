"""The definition of an int8 product, computed by numpy in 64-bit integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from searchmesh_encoder.models.graph import GraphWriter
from searchmesh_encoder.models.products import IntegerProducts

if TYPE_CHECKING:
    from onnx import ModelProto


def integers(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The integers along an axis, int64, and their scale, float32 with the axis kept."""
    scale = np.maximum(np.abs(x).max(axis, keepdims=True) / np.float32(127), np.float32(1e-30))
    return np.rint(x / scale).astype(np.int64), scale


def product(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """float32. x: (..., inputs) float32. kernel: (inputs, outputs) float32."""
    rows, row_scale = integers(x, -1)
    columns, column_scale = integers(kernel, 0)
    assert max(np.abs(rows).max(), np.abs(columns).max()) <= 127
    scaled: np.ndarray = (rows @ columns).astype(np.float32) * column_scale[0] * row_scale
    return scaled


def product_graph(kernel: np.ndarray) -> ModelProto:
    """The product as we build it.

    Its inputs are x (batch, sequence, inputs) float32 and tokens (batch, sequence) int64.
    """
    graph = GraphWriter()
    shape = ("batch", "sequence")
    (output,) = IntegerProducts(graph, "tokens").multiply("x", {"kernel": kernel})
    inputs, outputs = kernel.shape
    return graph.model(
        "product",
        [("x", TensorProto.FLOAT, (*shape, inputs)), ("tokens", TensorProto.INT64, shape)],
        (output, (*shape, outputs)),
    )

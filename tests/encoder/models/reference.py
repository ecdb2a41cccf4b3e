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
    scale = np.abs(x).max(axis, keepdims=True) / np.float32(127)
    divisor = np.where(scale == 0, np.float32(1), scale)
    return np.clip(np.rint(x / divisor), -127, 127).astype(np.int64), scale


def product(x: np.ndarray, kernel: np.ndarray, factors: np.ndarray | None = None) -> np.ndarray:
    """float32. x: (..., inputs) float32. kernel: (inputs, outputs) float32. factors: (inputs,)."""
    if factors is not None:
        x, kernel = x * factors, kernel / factors[:, None]
    rows, row_scale = integers(x, -1)
    columns, column_scale = integers(kernel, 0)
    scaled: np.ndarray = (rows @ columns).astype(np.float32) * column_scale[0] * row_scale
    return scaled


def product_graph(kernel: np.ndarray, factors: np.ndarray | None = None) -> ModelProto:
    """The product as we build it.

    Its inputs are x (batch, sequence, inputs) float32 and tokens (batch, sequence) int64.
    """
    graph = GraphWriter()
    shape = ("batch", "sequence")
    products = IntegerProducts(graph, "tokens", {} if factors is None else {"x": factors})
    (output,) = products.multiply("x", {"kernel": kernel})
    inputs, outputs = kernel.shape
    return graph.model(
        "product",
        [("x", TensorProto.FLOAT, (*shape, inputs)), ("tokens", TensorProto.INT64, shape)],
        (output, (*shape, outputs)),
    )

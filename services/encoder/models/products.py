"""Products of activations and weights, as a graph computes them: in fp32, or in exact int8.

The int8 product of activations x (rows, inputs) and a kernel w (inputs, outputs) is defined as

    scale of a row     s = max |x| / 127, over the row
    its integers       q = x / s, rounded half to even and no further than 127 from 0
    scale of a column  c = max |w| / 127, over the column, but at least 1e-30
    its integers       p = w / c, likewise
    product            float(sum of q * p) * c * s, in that order

with every scale and every step outside the sum in float32. The product of a row of zeros is 0: its
scale is, and what stands for its integers does not matter. Where some components are much larger
than the rest in every row, they leave few integers to the others. Such activations are first
smoothed: each component is multiplied by a power of two and the kernel's row divided by it, which
changes neither's digits nor their product, see `smoothing`.

A row's product therefore depends on
that row alone, never on the rows beside it: a scale for all rows of a batch, as ONNX Runtime's own
dynamic quantisation has it, makes a text's vector depend on the texts it is computed with.

Source: Jacob et al. 2018, section 2, for integer products; Dettmers et al. 2022, section 2.1, for a
scale for each row and each column; Xiao et al. 2023, SmoothQuant, for the smoothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from onnx import TensorProto, helper

from searchmesh_encoder.models.operands import ZERO_POINT, integer_product

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from searchmesh_encoder.models.graph import GraphWriter

_LARGEST = np.float32(127)
_SMALLEST_SCALE = np.float32(1e-30)


class Products(Protocol):
    """A way to multiply."""

    def multiply(self, x: str, kernels: Mapping[str, np.ndarray]) -> Sequence[str]:
        """The products of one input with each kernel.

        x: a value of shape (tokens, inputs). kernels: by name, each (inputs, outputs).
        """


class FloatProducts:
    """In fp32."""

    def __init__(self, graph: GraphWriter) -> None:
        self._graph = graph

    def multiply(self, x: str, kernels: Mapping[str, np.ndarray]) -> Sequence[str]:
        """See `Products`."""
        graph = self._graph
        return [
            graph.op("MatMul", [x, graph.constant(f"{name}.kernel", kernel)], f"{name}.product")
            for name, kernel in kernels.items()
        ]


class IntegerProducts:
    """In int8, as this module defines it; operands are bytes with a zero point, see `operands`."""

    def __init__(
        self, graph: GraphWriter, tokens: str, smoothing: Mapping[str, np.ndarray]
    ) -> None:
        """tokens: a value of shape (tokens,), which all products have in common.

        smoothing: by the name of an input of products, the powers of two of its components.
        """
        self._graph = graph
        self._smoothing = smoothing
        shape = graph.op("Shape", [tokens], "tokens_shape")
        rows = graph.op("Concat", [shape, graph.integers(1)], "rows_shape", axis=0)
        fill = helper.make_tensor("fill", TensorProto.UINT8, [1], [ZERO_POINT])
        self._zero_points = graph.op("ConstantOfShape", [rows], "zero_points", value=fill)

    def multiply(self, x: str, kernels: Mapping[str, np.ndarray]) -> Sequence[str]:
        """See `Products`; the input becomes integers once for all kernels."""
        graph = self._graph
        if x in self._smoothing:
            factors = self._smoothing[x]
            kernels = {name: kernel / factors[:, None] for name, kernel in kernels.items()}
            x = graph.op("Mul", [x, graph.constant(f"{x}.factors", factors)], f"{x}.smooth")
        scale = self._row_scale(x)
        # a block is a whole row; blocked, because a scale by axis takes longer
        inputs = next(iter(kernels.values())).shape[0]
        row = graph.op(
            "QuantizeLinear",
            [x, scale, self._zero_points],
            f"{x}.integers",
            axis=-1,
            block_size=inputs,
        )
        return [
            graph.op("Mul", [self._integer_product(row, name, kernel), scale], f"{name}.product")
            for name, kernel in kernels.items()
        ]

    def _row_scale(self, x: str) -> str:
        graph = self._graph
        magnitude = graph.op("Abs", [x], f"{x}.magnitude")
        largest = graph.op("ReduceMax", [magnitude, graph.integers(-1)], f"{x}.largest")
        return graph.op("Div", [largest, graph.constant("largest", _LARGEST)], f"{x}.scale")

    def _integer_product(self, row: str, name: str, kernel: np.ndarray) -> str:
        scale = column_scale(kernel)
        integers = np.rint(kernel / scale).astype(np.int8)
        return integer_product(self._graph, row, name, integers, scale)


def column_scale(kernel: np.ndarray) -> np.ndarray:
    """(outputs,) float32. kernel: (inputs, outputs) float32."""
    scale: np.ndarray = np.maximum(np.abs(kernel).max(axis=0) / _LARGEST, _SMALLEST_SCALE)
    return scale

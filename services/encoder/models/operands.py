"""The bytes that integer products are computed from, and whether this CPU computes them exactly.

Activations are unsigned bytes with a zero point of 128. Weights come in two forms of the same
integers: signed bytes, which CPUs with VNNI, AMX or dot-product instructions multiply fastest; and
unsigned ones with a zero point of 128. Plain AVX2 and AVX-512 add pairs of unsigned times signed
bytes in 16 bits, which overflow: they need the second form, which is widened before it is
multiplied. Graphs are kept in the first form; which form runs is decided at every load, by a
product whose result is known.
"""

from __future__ import annotations

import enum
import logging
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from searchmesh_common.errors import FailedPrecondition
from searchmesh_common.logs import fields
from searchmesh_encoder.models.graph import ONNX_RUNTIME, GraphWriter
from searchmesh_encoder.onnx_backend import OnnxModel

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger("searchmesh.models")

ZERO_POINT = 128
_OPERATOR = "MatMulIntegerToFloat"

# 1,024 products of at most 127 * 127 stay below 2**24, so that float32 holds their sum exactly
_INPUTS = 1024
_OUTPUTS = 80
_ROWS = (1, 2, 4, 17)
"""Kernels differ by the number of rows."""


class OperandForm(enum.Enum):
    """How the weights of an integer product are held."""

    SIGNED = "u8s8"
    UNSIGNED = "u8u8"


def integer_product(
    graph: GraphWriter, row: str, name: str, integers: np.ndarray, scale: np.ndarray
) -> str:
    """The sums of products as floats, each times its column's scale.

    row: a value of (..., inputs) uint8, of zero point 128. integers: (inputs, outputs) int8.
    scale: (outputs,) float32.
    """
    inputs = [
        row,
        graph.constant(f"{name}.integers", integers),
        graph.constant("unit_scale", np.float32(1)),
        graph.constant(f"{name}.scale", scale),
        graph.constant("zero_point", np.uint8(ZERO_POINT)),
    ]
    return graph.op(_OPERATOR, inputs, f"{name}.sums", domain=ONNX_RUNTIME)


def load_exact(path: Path) -> OnnxModel:
    """A graph of integer products, in the first form that this CPU computes exactly; blocks.

    Raises FailedPrecondition: BAD_GRAPH, or INEXACT_PRODUCTS where no form is exact.
    """
    form = exact_form()
    _log.info("integer products", extra=fields(graph=path, form=form.value))
    return OnnxModel(path if form is OperandForm.SIGNED else in_form(path.read_bytes(), form))


def exact_form() -> OperandForm:
    """The first form that this CPU computes exactly; some milliseconds.

    Raises FailedPrecondition (INEXACT_PRODUCTS) where there is none.
    """
    for form in OperandForm:
        wrong = wrong_cells(form)
        if not wrong:
            return form
        _log.info("inexact products", extra=fields(form=form.value, wrong_cells=wrong))
    raise FailedPrecondition(
        "INEXACT_PRODUCTS",
        "this CPU computes int8 products wrongly in every form; use the fp32 model",
    )


def wrong_cells(form: OperandForm) -> int:
    """Cells of products that this CPU computes otherwise than as integers; a few milliseconds."""
    random = np.random.default_rng(0)
    rows = random.integers(1, 256, (max(_ROWS), _INPUTS), dtype=np.uint8)
    weights = random.integers(-127, 128, (_INPUTS, _OUTPUTS), dtype=np.int8)
    # sums of pairs at both ends of their range
    rows[0], rows[1] = 255, 1
    weights[:, 0], weights[:, 1] = 127, -127
    exact = (rows.astype(np.int64) - ZERO_POINT) @ weights.astype(np.int64)
    product = OnnxModel(in_form(_product_graph(weights), form))
    return sum(
        int(np.count_nonzero(product.run({"rows": rows[:count]}) != exact[:count]))
        for count in _ROWS
    )


def in_form(signed: bytes, form: OperandForm) -> bytes:
    """A graph with the same integers in another form.

    signed: as it was built. Raises FailedPrecondition (BAD_GRAPH) where it is no graph.
    """
    if form is OperandForm.SIGNED:
        return signed
    try:
        model = onnx.load_model_from_string(signed)
    except Exception as error:  # protobuf's errors depend on its implementation
        raise FailedPrecondition("BAD_GRAPH", f"the graph cannot be read: {error}") from error
    products = [node for node in model.graph.node if node.op_type == _OPERATOR]
    kernels = {node.input[1] for node in products}
    for tensor in model.graph.initializer:
        if tensor.name in kernels:
            integers = numpy_helper.to_array(tensor).astype(np.int16) + ZERO_POINT
            tensor.CopyFrom(numpy_helper.from_array(integers.astype(np.uint8), tensor.name))
    for node in products:
        node.input.append("zero_point")
    serialized: bytes = model.SerializeToString()
    return serialized


def _product_graph(weights: np.ndarray) -> bytes:
    graph = GraphWriter()
    sums = integer_product(graph, "rows", "check", weights, np.ones(_OUTPUTS, np.float32))
    inputs = [("rows", TensorProto.UINT8, ("rows", _INPUTS))]
    serialized: bytes = graph.model("check", inputs, (sums, ("rows", _OUTPUTS))).SerializeToString()
    return serialized

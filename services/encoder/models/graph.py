"""Writes an ONNX graph node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

# the first opset with Attention, and the IR version of its time
_OPSET = 23
_IR_VERSION = 11

ONNX_RUNTIME = "com.microsoft"
"""Domain of the operators that ONNX Runtime has beside the standard's."""


class GraphWriter:
    """Nodes and constants in the order they were asked for; every value is known by its name."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def constant(self, name: str, value: np.ndarray | np.generic) -> str:
        """A tensor that is part of the model. A name that was given before keeps its tensor."""
        if name not in self._constants:
            array = np.ascontiguousarray(value).reshape(np.shape(value))
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def integers(self, *values: int) -> str:
        """The constant of shape (n,), int64, that shapes, axes and bounds are written in."""
        return self.constant(f"int64_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def op(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """A node with one output; returns the output's name.

        attributes: the operator's own, and `domain` where that is not the standard's.
        """
        self._nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def model(
        self,
        name: str,
        inputs: Sequence[tuple[str, int, Sequence[str | int]]],
        output: tuple[str, Sequence[str | int]],
    ) -> ModelProto:
        """The checked model. inputs: name, element type and shape; the output is float32."""
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(*one) for one in inputs],
            [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            producer_name="searchmesh",
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(ONNX_RUNTIME, 1)],
            ir_version=_IR_VERSION,
        )
        checker.check_model(model)
        return model

"""ONNX Runtime, and the only file that knows it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from searchmesh_common.errors import FailedPrecondition, Internal

# its Linux builds report their use to their makers and keep a device id in the user's cache folder,
# from the import on, unless this is set before; whoever wants that can set it to 0
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

_ERROR = 3
"""Log severity: what ONNX Runtime warns of, no operator can act on."""

_ERRORS: tuple[type[Exception], ...] = tuple(
    error
    for error in vars(ort_errors).values()
    if isinstance(error, type) and issubclass(error, Exception)
)

# the binding itself refuses a missing input or one of the wrong type with ValueError
_RUN_ERRORS: tuple[type[Exception], ...] = (*_ERRORS, ValueError)


class OnnxModel:
    """A graph that is ready to run; `run` may be called from several threads at once."""

    def __init__(self, graph: Path | bytes) -> None:
        """Load a graph, a file or its content; blocks.

        Raises FailedPrecondition (BAD_GRAPH) where it cannot be loaded.
        """
        try:
            self._session = onnxruntime.InferenceSession(
                graph if isinstance(graph, bytes) else str(graph),
                _session_options(),
                providers=["CPUExecutionProvider"],
            )
        except _ERRORS as error:
            name = "the graph" if isinstance(graph, bytes) else graph
            raise FailedPrecondition("BAD_GRAPH", f"{name} cannot be loaded: {error}") from error
        self.inputs: tuple[str, ...] = tuple(one.name for one in self._session.get_inputs())
        """Names of the graph's inputs."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The graph's first output; blocks, with the GIL released.

        inputs: a tensor for each of the graph's inputs, the batch along the first axis.
        Raises Internal where the graph cannot compute them.
        """
        try:
            output: np.ndarray = self._session.run(None, dict(inputs))[0]
        except _RUN_ERRORS as error:
            raise Internal(f"the model could not compute: {error}") from error
        return output


def _session_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERROR
    # our graphs are written in the fused operators that were fastest; beyond the basic level,
    # another release may fuse them otherwise and so change bits under the same fingerprint
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # one thread a run: workers run batches side by side instead, which wastes no core on waiting
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # plans memory anew for every shape and keeps each plan; shapes here are many
    options.enable_mem_pattern = False
    return options

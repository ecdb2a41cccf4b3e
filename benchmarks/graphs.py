"""Tokens that the graphs compute for each CPU-second, fp32 and int8, at the scheduler's shapes.

    python benchmarks/graphs.py [--runs N] [--products]

One thread, no tokenisation: ONNX Runtime as the encoder calls it; padding is no token. The models
take turns within each run, so that what else the machine does meets all alike; figures are medians.
Beside our fp32 graph stand that one and a plain one, as exporters write it, with all of ONNX
Runtime's own optimizations; the ratio is that of int8 to the fastest of the three.
`--products` compares single products in every way that ONNX Runtime has to compute them instead.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from onnx import TensorProto
from plain_bert import plain_bert
from safetensors.numpy import load_file

from searchmesh_encoder.models.catalogue import read_catalogue
from searchmesh_encoder.models.graph import ONNX_RUNTIME, GraphWriter
from searchmesh_encoder.models.operands import OperandForm, in_form, integer_product, load_exact
from searchmesh_encoder.models.sources import fetch
from searchmesh_encoder.models.store import ModelStore
from searchmesh_encoder.onnx_backend import OnnxModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MODEL = "all-minilm-l6-v2"
SHAPES = {
    "1 x 256": (256,),
    "2 x 128": (128,) * 2,
    "4 x 64": (64,) * 4,
    "8 x 32": (32,) * 8,
    "16 x 16": (16,) * 16,
    "21 x 12": (12,) * 21,
    "1 x 8": (8,),
    "1 x 16": (16,),
    "4 to 16": tuple(range(4, 17)) * 2,
    "24 to 48": tuple(range(24, 49, 4)),
}
"""Tokens of each text of a batch: about 256 together, single queries, and texts of unequal length,
as they come.
"""

PRODUCTS = ((256, 384, 384), (256, 384, 1536), (256, 1536, 384), (8, 384, 1536))
"""Rows, inputs and outputs."""

_LEAST_SECONDS = 0.02
"""Of CPU, for one measurement: short runs are repeated until they take as long."""


def main() -> None:
    """Print the table."""
    arguments = _arguments()
    if arguments.products:
        for shape in PRODUCTS:
            seconds = measure(_products(*shape), arguments.runs)
            figures = (f"{name} {taken * 1e6:6.0f}" for name, taken in seconds.items())
            print(f"{'x'.join(map(str, shape)):>14}  microseconds  {'  '.join(figures)}")
        return
    with tempfile.TemporaryDirectory() as folder:
        graphs = _graphs(Path(folder))
        print(
            "   shape" + "".join(f"{name:>17}" for name in graphs), " ratio (tokens per CPU-second)"
        )
        for label, lengths in SHAPES.items():
            inputs = _batch(lengths)
            runs = {name: partial(run, inputs) for name, run in graphs.items()}
            *fp32, int8 = (
                sum(lengths) / seconds for seconds in measure(runs, arguments.runs).values()
            )
            rates = "".join(f"{rate:17.0f}" for rate in (*fp32, int8))
            print(f"{label:>8}{rates}  {int8 / max(fp32):.2f}")


def measure(calls: Mapping[str, Callable[[], object]], runs: int) -> Mapping[str, float]:
    """Median CPU-seconds of each call, taken in turns."""
    repeats = {name: _repeats(call) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            seconds[name].append(_cpu_seconds(call, repeats[name]))
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def _repeats(call: Callable[[], object]) -> int:
    call()
    return 1 + int(_LEAST_SECONDS / max(_cpu_seconds(call, 3), 1e-6))


def _cpu_seconds(call: Callable[[], object], repeats: int) -> float:
    started = time.process_time()
    for _ in itertools.repeat(None, repeats):
        call()
    return (time.process_time() - started) / repeats


def _graphs(folder: Path) -> Mapping[str, Callable[[Mapping[str, np.ndarray]], object]]:
    """What runs each graph, those in fp32 before the one in int8."""
    store, cards = ModelStore(folder), read_catalogue()
    fp32, int8 = (
        store.built(cards[name], _ignore_progress).graph for name in (MODEL, f"{MODEL}-int8")
    )
    weights = load_file(fetch(cards[MODEL].weights, folder, _ignore_progress))
    plain = plain_bert(weights, cards[MODEL].bert).SerializeToString()
    return {
        "fp32": OnnxModel(fp32).run,
        "optimized": _optimized(fp32.read_bytes()),
        "plain optimized": _optimized(plain),
        "int8": load_exact(int8).run,
    }


def _optimized(graph: bytes) -> Callable[[Mapping[str, np.ndarray]], object]:
    """What runs a graph with all that ONNX Runtime does by itself to make it fast."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return partial(session.run, None)


def _ignore_progress(_done: int, _total: int | None) -> None:
    """Nothing is downloaded."""


def _batch(lengths: Sequence[int]) -> Mapping[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(1000, 30_000, (len(lengths), max(lengths)))
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    return {"input_ids": ids * mask, "attention_mask": mask}


def _products(rows: int, inputs: int, outputs: int) -> Mapping[str, Callable[[], object]]:
    """Ways to multiply; those in eight bits get their integers made, but for MatMulNBits."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, inputs)).astype(np.float32)
    integers = random.integers(1, 256, (rows, inputs), dtype=np.uint8)
    kernel = random.integers(-127, 128, (inputs, outputs), dtype=np.int8)
    graph = GraphWriter()
    scale = random.uniform(size=outputs).astype(np.float32)
    sums = integer_product(graph, "x", "kernel", kernel, scale)
    signed = _graph(graph, TensorProto.UINT8, inputs, sums)
    unsigned = in_form(signed, OperandForm.UNSIGNED)
    calls: dict[str, tuple[bytes, np.ndarray]] = {
        "fp32": (_float_product(kernel), x),
        "u8s8": (signed, integers),
        "u8u8": (unsigned, integers),
        "MatMulNBits/32": (_blocked_product(kernel, 32), x),
        "MatMulNBits/128": (_blocked_product(kernel, 128), x),
    }
    return {name: _caller(content, given) for name, (content, given) in calls.items()}


def _caller(graph: bytes, x: np.ndarray) -> Callable[[], object]:
    return partial(OnnxModel(graph).run, {"x": x})


def _float_product(kernel: np.ndarray) -> bytes:
    graph = GraphWriter()
    product = graph.op("MatMul", ["x", graph.constant("w", kernel.astype(np.float32))], "product")
    return _graph(graph, TensorProto.FLOAT, kernel.shape[0], product)


def _blocked_product(kernel: np.ndarray, block: int) -> bytes:
    """8-bit weights with a scale for each block; it makes integers of a row's blocks itself."""
    inputs, outputs = kernel.shape
    graph, blocks = GraphWriter(), inputs // block
    bytes_ = (kernel.T.astype(np.int16) + 128).astype(np.uint8).reshape(outputs, blocks, block)
    operands = [
        "x",
        graph.constant("w", bytes_),
        graph.constant("scales", np.ones((outputs, blocks), np.float32)),
    ]
    attributes = {"K": inputs, "N": outputs, "bits": 8, "block_size": block, "accuracy_level": 4}
    product = graph.op("MatMulNBits", operands, "product", domain=ONNX_RUNTIME, **attributes)
    return _graph(graph, TensorProto.FLOAT, inputs, product)


def _graph(graph: GraphWriter, element: int, inputs: int, output: str) -> bytes:
    model = graph.model("product", [("x", element, ("rows", inputs))], (output, ("rows", "n")))
    serialized: bytes = model.SerializeToString()
    return serialized


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="measurements of each figure")
    parser.add_argument("--products", action="store_true", help="compare single products instead")
    return parser.parse_args()


if __name__ == "__main__":
    main()

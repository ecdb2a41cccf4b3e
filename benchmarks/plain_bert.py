"""A BERT sentence encoder as exporters write it, for ONNX Runtime's own optimizer to make faster.

Operator by operator what the model's PyTorch code does: a product and a bias for each of queries,
keys and values, heads by Reshape and Transpose, the exact GELU by Erf, mean pooling by the mask.
Nothing is fused and nothing left out, so what the optimizer knows it can do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from searchmesh_encoder.models.graph import GraphWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto

    from searchmesh_encoder.models.card import BertShape

_OPSET, _IR_VERSION = 18, 9
"""Those that the optimizer's rules were written for."""


def plain_bert(weights: Mapping[str, np.ndarray], shape: BertShape) -> ModelProto:
    """The graph, its inputs, output and weights named as those of `build_bert`."""
    return _PlainBert(weights, shape).build()


class _PlainBert:
    def __init__(self, weights: Mapping[str, np.ndarray], shape: BertShape) -> None:
        self._weights = weights
        self._shape = shape
        self._graph = GraphWriter()
        self._dimension = weights["embeddings.word_embeddings.weight"].shape[1]
        self._head = self._dimension // shape.heads

    def build(self) -> ModelProto:
        graph = self._graph
        mask = self._mask()
        hidden = self._embeddings()
        index = 0
        while f"encoder.layer.{index}.attention.self.query.weight" in self._weights:
            hidden = self._layer(f"encoder.layer.{index}", hidden, mask)
            index += 1
        self._pooled(hidden)
        tokens = ("batch", "sequence")
        model = graph.model(
            "plain_bert",
            [(name, TensorProto.INT64, tokens) for name in ("input_ids", "attention_mask")],
            ("embedding", ("batch", self._dimension)),
        )
        model.opset_import[0].version, model.ir_version = _OPSET, _IR_VERSION
        return model

    def _mask(self) -> str:
        graph, integers = self._graph, self._graph.integers
        rows = graph.op("Unsqueeze", ["attention_mask", integers(1)], "mask_rows")
        heads = graph.op("Unsqueeze", [rows, integers(2)], "mask_heads")
        numbers = graph.op("Cast", [heads], "mask_numbers", to=TensorProto.FLOAT)
        padding = graph.op("Sub", [self._number(1.0), numbers], "padding")
        return graph.op("Mul", [padding, self._number(-1e9)], "mask_bias")

    def _embeddings(self) -> str:
        graph, integers = self._graph, self._graph.integers
        length = graph.op("Shape", ["input_ids"], "length", start=1)
        steps = np.arange(self._weights["embeddings.position_embeddings.weight"].shape[0])
        places = graph.op(
            "Slice", [graph.constant("steps", steps), integers(0), length], "position_ids"
        )
        zero = graph.constant("no_second_text", np.int64(0))
        word, position, kind = (
            graph.op("Gather", [self._weight(f"embeddings.{name}_embeddings.weight"), ids], name)
            for name, ids in (("word", "input_ids"), ("position", places), ("token_type", zero))
        )
        sum_ = graph.op("Add", [graph.op("Add", [word, kind], "word_kind"), position], "embedded")
        return self._layer_norm("embeddings", sum_)

    def _layer(self, name: str, hidden: str, mask: str) -> str:
        own = f"{name}.attention.self"
        query = self._heads(f"{own}.query", hidden, (0, 2, 1, 3))
        key = self._heads(f"{own}.key", hidden, (0, 2, 3, 1))
        value = self._heads(f"{own}.value", hidden, (0, 2, 1, 3))
        graph = self._graph
        scores = graph.op("MatMul", [query, key], f"{own}.scores")
        scaled = graph.op("Div", [scores, self._number(math.sqrt(self._head))], f"{own}.scaled")
        masked = graph.op("Add", [scaled, mask], f"{own}.masked")
        shares = graph.op("Softmax", [masked], f"{own}.shares", axis=-1)
        context = graph.op("MatMul", [shares, value], f"{own}.context")
        rows = graph.op("Transpose", [context], f"{own}.rows", perm=(0, 2, 1, 3))
        together = graph.op(
            "Reshape", [rows, graph.integers(0, 0, self._dimension)], f"{own}.together"
        )
        hidden = self._residual(f"{name}.attention.output", together, hidden)
        wide = self._gelu(name, self._dense(f"{name}.intermediate.dense", hidden))
        return self._residual(f"{name}.output", wide, hidden)

    def _heads(self, name: str, hidden: str, order: tuple[int, ...]) -> str:
        graph = self._graph
        shape = graph.integers(0, 0, self._shape.heads, self._head)
        parted = graph.op("Reshape", [self._dense(name, hidden), shape], f"{name}.parted")
        return graph.op("Transpose", [parted], f"{name}.heads", perm=order)

    def _gelu(self, name: str, x: str) -> str:
        graph = self._graph
        part = graph.op("Div", [x, self._number(math.sqrt(2))], f"{name}.erf_of")
        error = graph.op("Erf", [part], f"{name}.erf")
        share = graph.op("Add", [error, self._number(1.0)], f"{name}.share")
        twice = graph.op("Mul", [x, share], f"{name}.twice")
        return graph.op("Mul", [twice, self._number(0.5)], f"{name}.gelu")

    def _residual(self, name: str, x: str, hidden: str) -> str:
        sum_ = self._graph.op("Add", [self._dense(f"{name}.dense", x), hidden], f"{name}.residual")
        return self._layer_norm(name, sum_)

    def _dense(self, name: str, x: str) -> str:
        graph = self._graph
        kernel = graph.constant(f"{name}.kernel", self._weights[f"{name}.weight"].T)
        product = graph.op("MatMul", [x, kernel], f"{name}.product")
        return graph.op("Add", [self._weight(f"{name}.bias"), product], name)

    def _layer_norm(self, name: str, x: str) -> str:
        scale, shift = (self._weight(f"{name}.LayerNorm.{one}") for one in ("weight", "bias"))
        return self._graph.op(
            "LayerNormalization",
            [x, scale, shift],
            f"{name}.LayerNorm",
            axis=-1,
            epsilon=self._shape.layer_norm_epsilon,
        )

    def _pooled(self, hidden: str) -> None:
        graph, integers = self._graph, self._graph.integers
        rows = graph.op("Unsqueeze", ["attention_mask", integers(-1)], "mask_columns")
        mask = graph.op("Cast", [rows], "mask", to=TensorProto.FLOAT)
        masked = graph.op("Mul", [hidden, mask], "masked")
        sums = graph.op("ReduceSum", [masked, integers(1)], "sums", keepdims=0)
        counts = graph.op("ReduceSum", [mask, integers(1)], "counts", keepdims=0)
        mean = graph.op("Div", [sums, counts], "mean")
        length = graph.op("ReduceL2", [mean, integers(-1)], "norm")
        graph.op("Div", [mean, length], "embedding")

    def _number(self, value: float) -> str:
        return self._graph.constant(f"float_{value}", np.float32(value))

    def _weight(self, name: str) -> str:
        return self._graph.constant(name, self._weights[name])

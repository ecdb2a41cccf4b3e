"""Builds the ONNX graph of a BERT sentence encoder from its weights: token ids in, vectors out.

    input_ids, attention_mask (batch, sequence) int64 -> embedding (batch, dimension) float32

The same text gets the same bits alone and in any batch, at any padding. What that takes, found by
comparing every intermediate value:

- **No Reduce over the sequence axis.** It sums in an order that depends on the axis's length.
  Pooling is a product with the mask instead, which adds zeros at its end.
- **No product with a single row.** ONNX Runtime multiplies one row with another kernel, which adds
  the terms four at a time, so that a mask of 7 tokens and the same mask padded to 8 differ. The
  mask therefore has two equal rows, of which the first is kept.
- **Sequences of a multiple of 4** (see `TextPreprocessor.collate`): without AVX, Softmax sums whole
  groups of 4 and what is left over in different ways.

Padding costs next to nothing: only attention and pooling see it, see `packing`.
docs/decisions/exact-int8.md has what was measured. ONNX's Attention reads queries, keys and values
where they are and needs no transposes; Gelu and LayerNormalization beat the operators that would
take a bias or a residual in. Two biases need no addition of their own: that of the keys adds one
number to all scores of a query, which Softmax takes out again; that of the values adds itself to
every context, because the weights of attention sum to 1, and so is part of the next bias.

Source: Devlin et al. 2019, BERT; Reimers and Gurevych 2019, Sentence-BERT, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from searchmesh_common.errors import FailedPrecondition
from searchmesh_encoder.models.card import Precision
from searchmesh_encoder.models.graph import GraphWriter
from searchmesh_encoder.models.packing import Packing
from searchmesh_encoder.models.products import FloatProducts, IntegerProducts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto

    from searchmesh_encoder.models.card import BertShape
    from searchmesh_encoder.models.products import Products

GRAPH_VERSION = 3
"""Raised with every change that may change a bit of a vector; part of every fingerprint."""

_MASKED = np.float32(-1e9)
"""Added to the score of a padded position: far below any score, so that its weight is exactly 0."""


def build_bert(
    weights: Mapping[str, np.ndarray],
    shape: BertShape,
    precision: Precision,
    smoothing: Mapping[str, np.ndarray] | None = None,
) -> ModelProto:
    """The graph with mean pooling and L2 normalisation inside.

    weights: by the names of Hugging Face's BertModel, float32. smoothing: for int8, as
    `IntegerProducts` takes it, by the names of the LayerNorms whose outputs are smoothed.
    Raises FailedPrecondition (WRONG_WEIGHTS) where they are not those of a BERT, or not finite.
    """
    for name, tensor in weights.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise FailedPrecondition("WRONG_WEIGHTS", f"{name} holds a number that is not finite")
    try:
        return _Bert(weights, shape).build(precision, smoothing or {})
    except KeyError as error:
        raise FailedPrecondition(
            "WRONG_WEIGHTS", f"the weights are not those of a BERT: {error.args[0]} is missing"
        ) from error


class _Bert:
    def __init__(self, weights: Mapping[str, np.ndarray], shape: BertShape) -> None:
        self._weights = weights
        self._epsilon = shape.layer_norm_epsilon
        self._heads = shape.heads
        self._dimension = weights["embeddings.word_embeddings.weight"].shape[1]
        if self._dimension % self._heads:
            raise FailedPrecondition(
                "WRONG_WEIGHTS",
                f"{self._heads} heads do not divide the dimension {self._dimension}",
            )
        self._graph = GraphWriter()
        self._packing = Packing(self._graph, "attention_mask")

    def build(self, precision: Precision, smoothing: Mapping[str, np.ndarray]) -> ModelProto:
        graph = self._graph
        mask = graph.op("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
        bias = self._attention_bias(mask)
        ids = self._packing.packed("input_ids")
        hidden = self._embeddings(ids)
        products: Products = (
            IntegerProducts(graph, ids, smoothing)
            if precision is Precision.INT8
            else FloatProducts(graph)
        )
        for index in range(self._layers()):
            hidden = self._layer(f"encoder.layer.{index}", hidden, bias, products)
        mean = self._mean(self._packing.padded(hidden), mask)
        graph.op("LpNormalization", [mean], "embedding", axis=-1, p=2)
        tokens = ("batch", "sequence")
        return graph.model(
            "bert",
            [(name, TensorProto.INT64, tokens) for name in ("input_ids", "attention_mask")],
            ("embedding", ("batch", self._dimension)),
        )

    def _layers(self) -> int:
        prefix = "encoder.layer."
        return 1 + max(
            int(name.removeprefix(prefix).split(".")[0])
            for name in self._weights
            if name.startswith(prefix)
        )

    def _embeddings(self, ids: str) -> str:
        graph = self._graph
        words = self._weight("embeddings.word_embeddings.weight")
        # a single text has token type 0 throughout, so its vector belongs to every position
        positions = graph.constant(
            "positions",
            self._weights["embeddings.position_embeddings.weight"]
            + self._weights["embeddings.token_type_embeddings.weight"][0],
        )
        word = graph.op("Gather", [words, ids], "word")
        position = graph.op("Gather", [positions, self._packing.positions], "position")
        return self._layer_norm("embeddings", graph.op("Add", [word, position], "embedded"))

    def _attention_bias(self, mask: str) -> str:
        """(batch, 1, sequence, sequence): 0 for a token, very small for padding."""
        graph, integers = self._graph, self._graph.integers
        padding = graph.op("Sub", [graph.constant("one", np.float32(1)), mask], "padding")
        bias = graph.op("Mul", [padding, graph.constant("masked", _MASKED)], "bias")
        row = graph.op("Unsqueeze", [bias, integers(1, 2)], "bias_row")
        length = graph.op("Shape", [mask], "length", start=1)
        rows = graph.op("Concat", [integers(1, 1), length, integers(1)], "bias_rows", axis=0)
        return graph.op("Expand", [row, rows], "attention_bias")

    def _layer(self, name: str, hidden: str, bias: str, products: Products) -> str:
        context = self._context(f"{name}.attention.self", hidden, bias, products)
        hidden = self._residual(f"{name}.attention.output", context, hidden, products)
        wide = f"{name}.intermediate.dense"
        (product,) = products.multiply(hidden, self._kernels(wide))
        shifted = self._add(wide, product, self._weights[f"{wide}.bias"])
        gelu = self._graph.op("Gelu", [shifted], f"{name}.gelu")
        return self._residual(f"{name}.output", gelu, hidden, products)

    def _context(self, name: str, hidden: str, bias: str, products: Products) -> str:
        """The values that each token attends to, without their bias; see the module."""
        query, key, value = products.multiply(
            hidden, self._kernels(f"{name}.query", f"{name}.key", f"{name}.value")
        )
        query = self._add(f"{name}.query", query, self._weights[f"{name}.query.bias"])
        context = self._graph.op(
            "Attention",
            [*map(self._packing.padded, (query, key, value)), bias],
            f"{name}.context",
            q_num_heads=self._heads,
            kv_num_heads=self._heads,
        )
        return self._packing.packed(context, self._dimension)

    def _residual(self, name: str, x: str, hidden: str, products: Products) -> str:
        graph, dense = self._graph, f"{name}.dense"
        (product,) = products.multiply(x, self._kernels(dense))
        shifted = self._add(dense, product, self._output_bias(name))
        return self._layer_norm(name, graph.op("Add", [shifted, hidden], f"{name}.residual"))

    def _output_bias(self, name: str) -> np.ndarray:
        bias = self._weights[f"{name}.dense.bias"]
        if not name.endswith("attention.output"):
            return bias
        value_bias = self._weights[f"{name.removesuffix('output')}self.value.bias"]
        # in float64, so that a library's order of summation is rounded away
        terms = self._weights[f"{name}.dense.weight"].astype(np.float64) * value_bias
        total: np.ndarray = (bias + terms.sum(axis=1)).astype(np.float32)
        return total

    def _kernels(self, *names: str) -> Mapping[str, np.ndarray]:
        # ONNX multiplies from the right, PyTorch stores what it multiplies from the left
        return {name: self._weights[f"{name}.weight"].T for name in names}

    def _add(self, name: str, x: str, bias: np.ndarray) -> str:
        return self._graph.op("Add", [x, self._graph.constant(f"{name}.bias", bias)], name)

    def _layer_norm(self, name: str, x: str) -> str:
        scale = self._weight(f"{name}.LayerNorm.weight")
        shift = self._weight(f"{name}.LayerNorm.bias")
        return self._graph.op(
            "LayerNormalization",
            [x, scale, shift],
            f"{name}.LayerNorm",
            axis=-1,
            epsilon=self._epsilon,
        )

    def _mean(self, hidden: str, mask: str) -> str:
        """(batch, dimension): the sum of the tokens' vectors, whose direction is the mean's."""
        graph, integers = self._graph, self._graph.integers
        row = graph.op("Unsqueeze", [mask, integers(1)], "mask_row")
        rows = graph.op("Concat", [row, row], "mask_rows", axis=1)
        sums = graph.op("MatMul", [rows, hidden], "sums")
        first = graph.op("Slice", [sums, integers(0), integers(1), integers(1)], "sum")
        return graph.op("Squeeze", [first, integers(1)], "pooled")

    def _weight(self, name: str) -> str:
        return self._graph.constant(name, self._weights[name])

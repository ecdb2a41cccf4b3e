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

Standard operators were as fast as ONNX Runtime's MultiHeadAttention at every shape tried, and a
single product for query, key and value was no faster than three.

Source: Devlin et al. 2019, BERT; Reimers and Gurevych 2019, Sentence-BERT, section 3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from searchmesh_common.errors import FailedPrecondition
from searchmesh_encoder.models.graph import GraphWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto

    from searchmesh_encoder.models.card import BertShape

GRAPH_VERSION = 1
"""Raised with every change that may change a bit of a vector; part of every fingerprint."""

_MASKED = np.float32(-1e9)
"""Added to the score of a padded position: far below any score, so that its weight is exactly 0."""


def build_bert(weights: Mapping[str, np.ndarray], shape: BertShape) -> ModelProto:
    """The graph with mean pooling and L2 normalisation inside.

    weights: by the names of Hugging Face's BertModel, float32.
    Raises FailedPrecondition (WRONG_WEIGHTS) where they are not those of a BERT.
    """
    try:
        return _Bert(weights, shape).build()
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

    def build(self) -> ModelProto:
        hidden = self._embeddings()
        mask = self._graph.op("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
        bias = self._attention_bias(mask)
        for index in range(self._layers()):
            hidden = self._layer(f"encoder.layer.{index}", hidden, bias)
        self._graph.op("LpNormalization", [self._mean(hidden, mask)], "embedding", axis=-1, p=2)
        tokens = ("batch", "sequence")
        return self._graph.model(
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

    def _embeddings(self) -> str:
        graph, integers = self._graph, self._graph.integers
        words = self._weight("embeddings.word_embeddings.weight")
        # a single text has token type 0 throughout, so its vector belongs to every position
        positions = graph.constant(
            "positions",
            self._weights["embeddings.position_embeddings.weight"]
            + self._weights["embeddings.token_type_embeddings.weight"][0],
        )
        length = graph.op("Shape", ["input_ids"], "length", start=1)
        word = graph.op("Gather", [words, "input_ids"], "word")
        position = graph.op("Slice", [positions, integers(0), length], "position")
        return self._layer_norm("embeddings", graph.op("Add", [word, position], "embedded"))

    def _attention_bias(self, mask: str) -> str:
        """(batch, 1, 1, sequence): 0 for a token, very small for padding."""
        graph = self._graph
        padding = graph.op("Sub", [graph.constant("one", np.float32(1)), mask], "padding")
        bias = graph.op("Mul", [padding, graph.constant("masked", _MASKED)], "bias")
        return graph.op("Unsqueeze", [bias, graph.integers(1, 2)], "attention_bias")

    def _layer(self, name: str, hidden: str, bias: str) -> str:
        graph = self._graph
        attended = self._attention(f"{name}.attention", hidden, bias)
        residual = graph.op("Add", [attended, hidden], f"{name}.attention.residual")
        hidden = self._layer_norm(f"{name}.attention.output", residual)
        wide = self._gelu(f"{name}.gelu", self._dense(f"{name}.intermediate.dense", hidden))
        narrow = self._dense(f"{name}.output.dense", wide)
        residual = graph.op("Add", [narrow, hidden], f"{name}.residual")
        return self._layer_norm(f"{name}.output", residual)

    def _attention(self, name: str, hidden: str, bias: str) -> str:
        graph = self._graph
        query = self._in_heads(f"{name}.self.query", hidden, (0, 2, 1, 3))
        key = self._in_heads(f"{name}.self.key", hidden, (0, 2, 3, 1))
        value = self._in_heads(f"{name}.self.value", hidden, (0, 2, 1, 3))
        scale = graph.constant(
            "attention_scale", np.float32(1 / math.sqrt(self._dimension // self._heads))
        )
        product = graph.op("MatMul", [query, key], f"{name}.product")
        scaled = graph.op("Mul", [product, scale], f"{name}.scaled")
        scores = graph.op("Add", [scaled, bias], f"{name}.scores")
        probabilities = graph.op("Softmax", [scores], f"{name}.probabilities", axis=-1)
        context = graph.op("MatMul", [probabilities, value], f"{name}.context")
        merged = graph.op("Transpose", [context], f"{name}.by_token", perm=(0, 2, 1, 3))
        shape = graph.integers(0, 0, self._dimension)
        return self._dense(
            f"{name}.output.dense", graph.op("Reshape", [merged, shape], f"{name}.merged")
        )

    def _in_heads(self, name: str, hidden: str, order: tuple[int, ...]) -> str:
        """order: where (batch, sequence, head, head's dimension) go."""
        graph = self._graph
        shape = graph.integers(0, 0, self._heads, self._dimension // self._heads)
        split = graph.op("Reshape", [self._dense(name, hidden), shape], f"{name}.split")
        return graph.op("Transpose", [split], f"{name}.heads", perm=order)

    def _gelu(self, name: str, x: str) -> str:
        """0.5 x (1 + erf(x / sqrt 2)), written as ONNX Runtime recognises and fuses it."""
        graph = self._graph
        root = graph.constant("sqrt_2", np.float32(math.sqrt(2)))
        divided = graph.op("Div", [x, root], f"{name}.divided")
        erf = graph.op("Erf", [divided], f"{name}.erf")
        shifted = graph.op("Add", [erf, graph.constant("one", np.float32(1))], f"{name}.shifted")
        product = graph.op("Mul", [x, shifted], f"{name}.product")
        return graph.op("Mul", [product, graph.constant("half", np.float32(0.5))], name)

    def _dense(self, name: str, x: str) -> str:
        graph = self._graph
        # ONNX multiplies from the right, PyTorch stores what it multiplies from the left
        kernel = graph.constant(f"{name}.kernel", self._weights[f"{name}.weight"].T)
        product = graph.op("MatMul", [x, kernel], f"{name}.product")
        return graph.op("Add", [product, self._weight(f"{name}.bias")], name)

    def _layer_norm(self, name: str, x: str) -> str:
        scale = self._weight(f"{name}.LayerNorm.weight")
        shift = self._weight(f"{name}.LayerNorm.bias")
        return self._graph.op(
            "LayerNormalization",
            [x, scale, shift],
            f"{name}.normalized",
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

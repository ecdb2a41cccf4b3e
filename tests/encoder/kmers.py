"""A model of another kind than text: a DNA sequence to the counts of its words of three letters."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from searchmesh_common.errors import InvalidRequest
from searchmesh_encoder.models.graph import GraphWriter
from searchmesh_encoder.onnx_backend import OnnxModel
from searchmesh_encoder.prepared import Part, Prepared

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from searchmesh_encoder.content import Content
    from searchmesh_encoder.prepared import PrepareOptions

WORDS = ["".join(letters) for letters in product("ACGT", repeat=3)]
_NO_WORD = len(WORDS)


class KmerModel:
    """What the encoder asks of a model, with another payload than token ids."""

    name = "kmers"
    fingerprint = "kmers of three"
    card: Any = SimpleNamespace(name="kmers", dimension=len(WORDS), window=1_000_000, dimensions=())

    def __init__(self, folder: Path) -> None:
        path = folder / "kmers.onnx"
        path.write_bytes(_graph())
        self._graph = OnnxModel(path)

    def prepare(self, content: Content, _options: PrepareOptions) -> Prepared[np.ndarray]:
        sequence = content.data
        assert isinstance(sequence, str)
        words = [WORDS.index(sequence[at : at + 3]) for at in range(len(sequence) - 2)]
        if not words:
            raise InvalidRequest.of("sequence", "must have three letters")
        part = Part(np.array(words, np.int32), len(words))
        return Prepared([part], len(sequence), len(sequence), truncated=False)

    def padded_length(self, longest: int) -> int:
        return longest

    def run(self, payloads: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        words = np.full((len(payloads), max(map(len, payloads))), _NO_WORD, np.int32)
        for row, payload in zip(words, payloads, strict=True):
            row[: len(payload)] = payload
        return list(self._graph.run({"words": words}))


def _graph() -> bytes:
    """`words` (batch, sequence) int32 -> (batch, words) float32."""
    graph = GraphWriter()
    depth = graph.constant("depth", np.array(_NO_WORD + 1, np.int64))
    ends = graph.constant("ends", np.array([0, 1], np.float32))
    indices = graph.op("Cast", ["words"], "indices", to=TensorProto.INT64)
    marks = graph.op("OneHot", [indices, depth, ends], "marks", axis=-1)
    counts = graph.op("ReduceSum", [marks, graph.integers(1)], "counts", keepdims=0)
    graph.op("Slice", [counts, graph.integers(0), graph.integers(_NO_WORD), graph.integers(1)], "k")
    model = graph.model(
        "kmers",
        [("words", TensorProto.INT32, ("batch", "sequence"))],
        ("k", ("batch", len(WORDS))),
    )
    return bytes(model.SerializeToString())

"""A text model that is loaded: its card, its preprocessor and its graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import FailedPrecondition, Internal, InvalidRequest
from searchmesh_encoder.models.card import Modality, Precision
from searchmesh_encoder.models.operands import load_exact
from searchmesh_encoder.models.quality import Golden, check_quality
from searchmesh_encoder.onnx_backend import OnnxModel
from searchmesh_encoder.prepared import InputRole, PrepareOptions
from searchmesh_encoder.preprocess.text import TextPreprocessor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_common.errors import ServiceError
    from searchmesh_encoder.content import Content
    from searchmesh_encoder.models.card import ModelCard
    from searchmesh_encoder.models.store import BuiltModel
    from searchmesh_encoder.prepared import Prepared

_JUDGED_TOGETHER = 2
"""Texts of the quality gate that are computed in one batch."""


class TextModel:
    """A model that turns texts into vectors; safe to use from several threads."""

    def __init__(self, card: ModelCard, built: BuiltModel, max_characters: int) -> None:
        """Load, warm and judge the model; blocks.

        max_characters: most characters of one text. Raises FailedPrecondition where its files are
        no good, this CPU computes int8 wrongly, or its vectors are too far from the golden ones.
        """
        self.card = card
        self.name = card.name
        self.fingerprint = built.fingerprint
        self._preprocessor = TextPreprocessor(
            built.tokenizer,
            window=card.window,
            prefixes={
                InputRole.QUERY: card.query_prefix,
                InputRole.DOCUMENT: card.document_prefix,
            },
            max_characters=max_characters,
        )
        load = load_exact if card.precision is Precision.INT8 else OnnxModel
        self._graph = load(built.graph)
        self._warm()
        if card.golden:
            self._judge(Golden.read(card.golden))

    def prepare(self, content: Content, options: PrepareOptions) -> Prepared[np.ndarray]:
        """What `run` takes; blocks. Raises InvalidRequest where the content is at fault."""
        if content.modality is not Modality.TEXT or not isinstance(content.data, str):
            given = content.modality.value if content.modality else "nothing"
            raise InvalidRequest.of("content", f"{given} given, {self.name} reads text")
        return self._preprocessor.prepare(content.data, options)

    def padded_length(self, longest: int) -> int:
        """The length that `run` pads texts to. longest: of them, in tokens."""
        return self._preprocessor.padded_length(longest)

    def run(self, texts: Sequence[np.ndarray]) -> Sequence[np.ndarray | ServiceError]:
        """The vector of each text, (dimension,) float32, or why it has none; blocks.

        texts: the token ids of each, as `prepare` answers them.
        """
        vectors = self._graph.run(self._preprocessor.collate(texts))
        finite = np.isfinite(vectors).all(axis=1)
        return [
            vector if is_finite else Internal("the model computed a vector that is not finite")
            for vector, is_finite in zip(vectors, finite, strict=True)
        ]

    def _warm(self) -> None:
        text = self._preprocessor.prepare("warm", PrepareOptions())
        shape = self._graph.run(self._preprocessor.collate([text.parts[0].payload])).shape
        if shape != (1, self.card.dimension):
            raise FailedPrecondition(
                "WRONG_DIMENSION",
                f"{self.name} computes vectors of {shape[-1]} components, its card says "
                f"{self.card.dimension}",
            )

    def _judge(self, golden: Golden) -> None:
        prepared = [self._preprocessor.prepare(text, PrepareOptions()) for text in golden.texts]
        # alike in length side by side, so that little is padding
        order = sorted(range(len(prepared)), key=lambda index: prepared[index].tokens)
        vectors = np.empty((len(prepared), self.card.dimension), np.float32)
        for start in range(0, len(order), _JUDGED_TOGETHER):
            batch = order[start : start + _JUDGED_TOGETHER]
            payloads = [prepared[index].parts[0].payload for index in batch]
            vectors[batch] = self._graph.run(self._preprocessor.collate(payloads))
        check_quality(golden.agreement(vectors), self.card.precision)

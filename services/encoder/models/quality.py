"""The gate that a loaded model must pass: its vectors are near enough those it should compute.

A golden file holds texts and their vectors as the fp32 model computes them. The gate notices a
library that computes otherwise on this CPU as well as a precision that costs too much.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import FailedPrecondition
from searchmesh_encoder.models.card import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cosines between vectors and those they should be."""

    mean: float
    minimum: float


LEAST: Mapping[Precision, Agreement] = {
    Precision.FP32: Agreement(mean=0.9999, minimum=0.9999),
    Precision.INT8: Agreement(mean=0.996, minimum=0.99),
}
"""The least that a model of each precision must reach."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Texts and the vectors that they should have."""

    texts: Sequence[str]
    vectors: np.ndarray
    """(texts, dimension) float16."""

    @classmethod
    def read(cls, path: Path) -> Golden:
        """Raises FailedPrecondition (BAD_GOLDEN) where the file is no golden file."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            texts = content["texts"]
            vectors = np.frombuffer(base64.b64decode(content["vectors"]), "<f2")
            return cls(texts, vectors.reshape(len(texts), content["dimension"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FailedPrecondition("BAD_GOLDEN", f"{path} holds no vectors: {error}") from error

    def write(self, path: Path) -> None:
        """Write the file that `read` reads."""
        content = {
            "texts": self.texts,
            "dimension": self.vectors.shape[1],
            "vectors": base64.b64encode(self.vectors.astype("<f2").tobytes()).decode(),
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def agreement(self, vectors: np.ndarray) -> Agreement:
        """vectors: (texts, dimension) float32 of the same texts; what is not a number agrees least.

        Raises FailedPrecondition (BAD_GOLDEN) where the golden ones have another dimension.
        """
        if vectors.shape != self.vectors.shape:
            raise FailedPrecondition(
                "BAD_GOLDEN",
                f"the golden vectors have {self.vectors.shape[1]} components, the model's "
                f"{vectors.shape[1]}",
            )
        golden = _unit(self.vectors.astype(np.float32))
        cosines = np.nan_to_num((golden * _unit(vectors)).sum(axis=1), nan=-1.0)
        return Agreement(float(cosines.mean()), float(cosines.min()))


def check_quality(agreement: Agreement, precision: Precision) -> None:
    """Raises FailedPrecondition (POOR_QUALITY), with the figures, where a model must not serve."""
    least = LEAST[precision]
    if agreement.mean < least.mean or agreement.minimum < least.minimum:
        raise FailedPrecondition(
            "POOR_QUALITY",
            f"the vectors differ too much from those of fp32: cosine {agreement.mean:.4f} in the "
            f"mean and {agreement.minimum:.4f} at least, where {precision.value} must reach "
            f"{least.mean} and {least.minimum}",
        )


def _unit(vectors: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        unit: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit

"""What becomes of one content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from searchmesh_common.errors import ServiceError
    from searchmesh_encoder.prepared import TextSpan


@dataclass(frozen=True, slots=True)
class SegmentVector:
    """A part of a content and the part's own vector."""

    segment: TextSpan
    vector: np.ndarray
    """(dimension,) float32, finite."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """What became of one content."""

    outcome: np.ndarray | Sequence[SegmentVector] | ServiceError
    """(dimension,) float32, finite; or one vector for each segment, in order, where segments were
    asked for; or why there is none."""
    tokens: int = 0
    original_tokens: int = 0
    truncated: bool = False

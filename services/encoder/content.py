"""Contents as the encoder's core sees them, whatever they travelled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from searchmesh_encoder.models.card import Modality


@dataclass(frozen=True, slots=True)
class Content:
    """One thing to encode."""

    modality: Modality | None
    """None where the caller named no kind of content."""
    data: str | bytes
    """A text, a molecule's SMILES or a sequence as str; a media file as bytes."""

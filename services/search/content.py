"""A content: something that a model can turn into a vector."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Modality(enum.Enum):
    """What a content is, and what a model reads."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    MOLECULE = "molecule"
    SEQUENCE = "sequence"


@dataclass(frozen=True, slots=True)
class Content:
    """One content of a document or a query."""

    modality: Modality
    data: str | bytes
    """Text, SMILES and sequences as characters, media as the bytes of a file."""

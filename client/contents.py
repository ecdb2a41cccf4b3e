"""What can be encoded and searched for. A text is a `str`; every other kind has a small class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Image:
    """An image file: JPEG, PNG, WebP, GIF, BMP or TIFF."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Audio:
    """An audio file: WAV, FLAC, Ogg, MP3 or M4A, at any sample rate."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Video:
    """A video file: MP4, MKV or WebM."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Smiles:
    """A molecule in SMILES notation."""

    text: str


@dataclass(frozen=True, slots=True)
class NucleotideSequence:
    """A, C, G, T and the IUPAC ambiguity codes, in either case, without a header."""

    text: str


Content: TypeAlias = str | Image | Audio | Video | Smiles | NucleotideSequence

"""A content as a model reads it: one part, or one for each of its segments."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from searchmesh_common.errors import FieldViolation, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

Payload = TypeVar("Payload")


class InputRole(enum.Enum):
    """Which side of the search a content is on."""

    QUERY = "query"
    DOCUMENT = "document"


class OnTooLong(enum.Enum):
    """What becomes of a content that is longer than the model's window; in segments none is."""

    TRUNCATE = "truncate"
    REJECT = "reject"


class Segmentation(enum.Enum):
    """Whether a content becomes one vector or one for each of its parts."""

    WHOLE = "whole"
    SEGMENTS = "segments"


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """How a content is to be read; part of what two equal requests must have in common."""

    role: InputRole = InputRole.DOCUMENT
    on_too_long: OnTooLong = OnTooLong.TRUNCATE
    segmentation: Segmentation = Segmentation.WHOLE


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A passage of a text."""

    start: int
    """First code point, counted from 0."""
    end: int
    """One past the last code point."""
    text: str


@dataclass(frozen=True, slots=True)
class Part(Generic[Payload]):
    """Something that gets a vector of its own."""

    payload: Payload
    """What the model's `run` takes."""
    length: int
    """Length on the axis that a batch pads: tokens for text."""
    segment: TextSpan | None = None
    """Where in the content it is; None for the whole of it."""


@dataclass(frozen=True, slots=True)
class Prepared(Generic[Payload]):
    """A content that was read."""

    parts: Sequence[Part[Payload]]
    """At least one; exactly one unless segments were asked for."""
    tokens: int
    """Units of input that are encoded, those of all parts."""
    original_tokens: int
    """Units of the whole content, before its end was left out or any part repeated."""
    truncated: bool
    """Whether its end was left out."""


class TooLong(InvalidRequest):
    """A content that the model's window has no room for, and whose end must not be left out."""

    def __init__(self, fault: FieldViolation, original_tokens: int) -> None:
        """original_tokens: of the whole content."""
        super().__init__(fault)
        self.original_tokens = original_tokens

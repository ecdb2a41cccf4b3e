"""Segments that a caller gives with their vectors, and what makes their document fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common.errors import InvalidRequest
from searchmesh_search.collection_spec import Segmentation
from searchmesh_search.content import Modality
from searchmesh_search.segments import MAX_SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.content import Content
    from searchmesh_search.segments import TextSpan


@dataclass(frozen=True, slots=True)
class GivenSegment:
    """A segment as a caller gave it, unchecked."""

    span: TextSpan | None
    """None where it was not given, or is no passage of a text."""
    vector: np.ndarray


def check_spans(
    collection: Collection, content: Content | None, given: Sequence[GivenSegment], path: str
) -> None:
    """Raises InvalidRequest for segments that a collection does not have or that are no parts of
    the content.

    path: of the segments in their request.
    """
    if collection.spec.segmentation is not Segmentation.SEGMENTS:
        raise InvalidRequest.of(path, "the collection holds one vector a document; give `vector`")
    if len(given) > MAX_SEGMENTS:
        raise InvalidRequest.of(path, f"{len(given)} given, at most {MAX_SEGMENTS}")
    if content is None or content.modality is not Modality.TEXT:
        raise InvalidRequest.of(path, "give the text that they are passages of as `content`")
    for place, one in enumerate(given):
        _check_span(one.span, len(content.data), f"{path}[{place}].segment")


def _check_span(span: TextSpan | None, length: int, path: str) -> None:
    if span is None:
        raise InvalidRequest.of(path, "required: say which passage of the text it is, as `text`")
    if not 0 <= span.start < span.end <= length:
        raise InvalidRequest.of(
            f"{path}.text",
            f"{span.start} to {span.end} is no passage of a text of {length} code points",
        )

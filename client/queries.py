"""What is asked for, as values, for calls that carry more than one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from searchmesh.contents import Content
from searchmesh.vectors import VectorLike

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class DocumentId:
    """A stored document as a query."""

    id: str


Query: TypeAlias = Content | DocumentId | VectorLike
"""A content (a str is a text), a stored document or a vector."""


@dataclass(frozen=True, slots=True)
class Diversity:
    """Hits that are unlike each other, by maximal marginal relevance."""

    weight: float = 0.5
    """Of the score against the likeness to hits before, 0 to 1; 1 changes nothing."""
    candidates: int | None = None
    """Hits to choose from, at most 1000. Default: 4 times `offset` and `limit` together."""


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What `search` takes, less the timeout."""

    collection: str
    query: Content | None = None
    vector: VectorLike | None = None
    document_id: str | None = None
    limit: int = 10
    offset: int = 0
    filter: str = ""
    output_fields: Sequence[str] = ()
    min_score: float | None = None
    group_by: str = ""
    group_size: int = 1
    diversity: Diversity | None = None
    read_after: str = ""
    explain: bool = False

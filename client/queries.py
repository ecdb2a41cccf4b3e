"""Searches as values, for calls that carry more than one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh.contents import Content
    from searchmesh.vectors import VectorLike


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
    read_after: str = ""
    explain: bool = False

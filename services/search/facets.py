"""Facets: documents counted by the values of a declared field."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_search.filters.check import require_declared
from searchmesh_search.filters.filter import having

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.engine import FoundRow
    from searchmesh_search.filters.filter import Filter, Value
    from searchmesh_search.matching import Matching


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """How often each value occurs."""

    facets: Sequence[tuple[Value, int]]
    """Values and their documents, greatest count first; of equal counts the smaller value."""
    other_count: int
    """Documents whose value is not among them."""


async def count_facets(
    matching: Matching,
    collection: Collection,
    field: str,
    where: Filter | None,
    limit: int,
    deadline: Deadline,
) -> FacetCounts:
    """Count the documents that a filter is true for and that have the field, by its value.

    Raises InvalidRequest for a field that is not declared, otherwise as `Matching.rows`.
    """
    require_declared(field, collection.spec.fields, "field")
    rows = await matching.rows(collection, having(where, field), deadline, field=field)
    return _counted(rows, limit)


def _counted(rows: Sequence[FoundRow], limit: int) -> FacetCounts:
    counts = Counter(row.value for row in rows if row.value is not None)
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    shown = ordered[:limit]
    return FacetCounts(shown, counts.total() - sum(count for _, count in shown))

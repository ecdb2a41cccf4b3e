"""What else the engine holds of the rows that a search found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_search.engine import row_key
from searchmesh_search.engine_losses import losses_told

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.engine import Engine
    from searchmesh_search.filters.filter import Value
    from searchmesh_search.journal import Journal
    from searchmesh_search.searcher import Match


class FoundRows:
    """Reads of matches what a search does not give; of those that were replaced or deleted
    meanwhile it gives nothing. Raises what the engine does, NotFound when the collection was
    deleted meanwhile, DataLoss when the engine has lost it.
    """

    def __init__(self, journal: Journal, engine: Engine) -> None:
        self._journal = journal
        self._engine = engine

    async def values(
        self, collection: Collection, matches: Sequence[Match], field: str, deadline: Deadline
    ) -> list[tuple[Match, Value | None]]:
        """The matches, each with its value of a declared field; None where it has none."""
        keys = _keys(matches)
        async with losses_told(self._journal, collection, deadline):
            values = await self._engine.values(
                collection.physical, keys, field, deadline.remaining()
            )
        return [(one, values[key]) for one, key in zip(matches, keys, strict=True) if key in values]

    async def vectors(
        self, collection: Collection, matches: Sequence[Match], deadline: Deadline
    ) -> list[tuple[Match, np.ndarray]]:
        """The matches, each with the vector of the row that was found."""
        keys = _keys(matches)
        async with losses_told(self._journal, collection, deadline):
            vectors = await self._engine.vectors(collection.physical, keys, deadline.remaining())
        return [
            (one, vectors[key]) for one, key in zip(matches, keys, strict=True) if key in vectors
        ]


def _keys(matches: Sequence[Match]) -> list[str]:
    """Of the rows that were found."""
    return [row_key(one.near.document_id, one.near.generation, one.near.segment) for one in matches]

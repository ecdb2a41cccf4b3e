"""BatchSearcher: many searches in one call, encoded together, each with an outcome of its own."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from searchmesh_common.errors import ServiceError
from searchmesh_search.at_once import SEARCHES_AT_ONCE, at_once
from searchmesh_search.encoded_together import EncodedTogether, encode_together
from searchmesh_search.query_vectors import model_for
from searchmesh_search.searcher import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.collections import Collections
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.encoded_together import EncodeQueries, Wanted
    from searchmesh_search.refiner import RefinedQuery, Refiner
    from searchmesh_search.searcher import EncodeQuery, SearchQuery, SearchResult


class BatchSearcher:
    """Answers many searches at once."""

    def __init__(
        self,
        collections: Collections,
        refiner: Refiner,
        encode_query: EncodeQuery,
        encode_queries: EncodeQueries,
    ) -> None:
        self._collections = collections
        self._refiner = refiner
        self._encode_query = encode_query
        self._encode_queries = encode_queries

    async def search(
        self, queries: Sequence[RefinedQuery | ServiceError], deadline: Deadline
    ) -> list[SearchResult | ServiceError]:
        """The result, or that query's own error, of each; an error that is given stays one."""
        wanted = await self._wanted(
            [one.search for one in queries if not isinstance(one, ServiceError)], deadline
        )
        encoded = await encode_together(self._encode_queries, wanted, deadline)
        encode_query = EncodedTogether(encoded, self._encode_query)

        async def search(query: RefinedQuery | ServiceError) -> SearchResult | ServiceError:
            if isinstance(query, ServiceError):
                return query
            try:
                return await self._refiner.search(query, deadline, encode_query)
            except ServiceError as error:
                return error

        return await at_once(SEARCHES_AT_ONCE, search, queries)

    async def _wanted(self, queries: Sequence[SearchQuery], deadline: Deadline) -> list[Wanted]:
        """What must be encoded. What cannot be is left out: its search will say why."""
        known = await self._known({one.collection for one in queries if one.content}, deadline)
        wanted = []
        for one in queries:
            collection = known.get(one.collection)
            if collection is not None and one.content is not None and one.mode is not Mode.LEXICAL:
                with suppress(ServiceError):
                    model = model_for(collection, one.content)
                    wanted.append((model, collection.fingerprint, one.content))
        return wanted

    async def _known(self, names: Iterable[str], deadline: Deadline) -> dict[str, Collection]:
        """Those of the collections that can be read."""
        known = {}
        for name in names:
            with suppress(ServiceError):
                known[name] = await self._collections.get(name, deadline)
        return known

"""Refiner: a search whose hits are few of each group, or unlike each other."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from searchmesh_search.diversity import diverse
from searchmesh_search.encoded_together import EncodedTogether
from searchmesh_search.filters.check import require_declared
from searchmesh_search.grouping import best_of_groups
from searchmesh_search.off_loop import off_loop
from searchmesh_search.searcher import Explanation, Found, SearchQuery
from searchmesh_search.similarity import similarities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from searchmesh_search.deadline import Deadline
    from searchmesh_search.engine import Metric
    from searchmesh_search.found_rows import FoundRows
    from searchmesh_search.searcher import EncodeQuery, Match, Searcher, SearchResult

MAX_LOOK = 10_000
"""Nearest documents among which those of enough groups are looked for."""

LOOK_GROWTH = 4
"""How many times as many are looked at when they were of too few groups."""

MAX_CANDIDATES = 1000
"""Hits that diversity chooses from."""

DEFAULT_CANDIDATES = 4
"""The same, for each hit wanted."""

MAX_REPEATS = 3
"""Times that it is searched again because documents were replaced meanwhile."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """At most `size` hits with the same value of a declared field."""

    field: str
    size: int = 1


@dataclass(frozen=True, slots=True)
class Diversity:
    """Hits that are unlike each other, by maximal marginal relevance."""

    weight: float
    """Of the score against the difference, 0 to 1."""
    candidates: int | None
    """Hits to choose from; by default DEFAULT_CANDIDATES for each hit wanted."""


@dataclass(frozen=True, slots=True)
class RefinedQuery:
    """A search, and what becomes of its hits."""

    search: SearchQuery
    grouping: Grouping | None = None
    diversity: Diversity | None = None

    @property
    def wanted(self) -> int:
        """Hits up to the end of the page."""
        return self.search.offset + self.search.limit

    @property
    def candidates(self) -> int:
        """Hits that the page is chosen from."""
        if self.diversity is None:
            return self.wanted
        return self.diversity.candidates or min(self.wanted * DEFAULT_CANDIDATES, MAX_CANDIDATES)


class Refiner:
    """Answers searches, refined or not."""

    def __init__(self, searcher: Searcher, rows: FoundRows, encode_query: EncodeQuery) -> None:
        self._searcher = searcher
        self._rows = rows
        self._encode_query = encode_query

    async def search(
        self, query: RefinedQuery, deadline: Deadline, encode_query: EncodeQuery | None = None
    ) -> SearchResult:
        """The hits of a search. Raises as `Searcher.search`, and InvalidRequest for grouping by a
        field that is not declared.
        """
        find = partial(self.find, query, deadline, encode_query)
        return await self._searcher.read(find, with_documents=query.search.with_documents)

    async def find(
        self, query: RefinedQuery, deadline: Deadline, encode_query: EncodeQuery | None = None
    ) -> Found:
        """The same, not read yet."""
        if query.grouping is None and query.diversity is None:
            return await self._searcher.find(query.search, deadline, encode_query)
        # it may take several searches
        encode_query = EncodedTogether({}, encode_query or self._encode_query)
        for repeats_left in reversed(range(MAX_REPEATS + 1)):
            found, lost = await self._candidates(query, deadline, encode_query)
            chosen, lost_too = await self._chosen(query, found, deadline)
            if not (lost or lost_too) or not repeats_left:
                break
        return replace(chosen, matches=chosen.matches[query.search.offset : query.wanted])

    async def _candidates(
        self, query: RefinedQuery, deadline: Deadline, encode_query: EncodeQuery
    ) -> tuple[Found, bool]:
        """What the page is chosen from, and whether some of it was replaced or deleted meanwhile
        and is missing.
        """
        look = query.candidates
        search = replace(query.search, offset=0, limit=look)
        found = await self._searcher.find(search, deadline, encode_query)
        if query.grouping is None:
            return found, False
        require_declared(query.grouping.field, found.collection.spec.fields, "group_by")
        spent = Explanation()
        while True:
            best, lost = await self._grouped(query.grouping, found, deadline)
            is_all = len(found.matches) < look or look >= MAX_LOOK
            if len(best) >= query.candidates or is_all:
                found.explanation.add_times_of(spent)
                return replace(found, matches=best[: query.candidates]), lost
            spent.add_times_of(found.explanation)
            look = min(look * LOOK_GROWTH, MAX_LOOK)
            found = await self._searcher.find(replace(search, limit=look), deadline, encode_query)

    async def _grouped(
        self, grouping: Grouping, found: Found, deadline: Deadline
    ) -> tuple[list[Match], bool]:
        with _timed(found.explanation):
            valued = await self._rows.values(
                found.collection, found.matches, grouping.field, deadline
            )
        return best_of_groups(valued, grouping.size), len(valued) < len(found.matches)

    async def _chosen(
        self, query: RefinedQuery, found: Found, deadline: Deadline
    ) -> tuple[Found, bool]:
        """What of the candidates comes up to the end of the page, and as `_candidates`."""
        if query.diversity is None:
            return found, False
        with _timed(found.explanation):
            held = await self._rows.vectors(found.collection, found.matches, deadline)
        matches = await off_loop(
            len(held) ** 2 // 100, _diverse, query, held, found.collection.space.metric
        )
        return replace(found, matches=matches), len(held) < len(found.matches)


def _diverse(
    query: RefinedQuery, held: Sequence[tuple[Match, np.ndarray]], metric: Metric
) -> list[Match]:
    assert query.diversity is not None
    if not held:
        return []
    scores = np.array([match.near.score for match, _ in held])
    vectors = np.stack([vector for _, vector in held])
    likeness = similarities(vectors, vectors, metric)
    places = diverse(scores, likeness, query.diversity.weight, query.wanted)
    return [held[place][0] for place in places]


@contextmanager
def _timed(explanation: Explanation) -> Iterator[None]:
    """Around a call of the engine."""
    started = time.perf_counter()
    yield
    explanation.search_ms += (time.perf_counter() - started) * 1000

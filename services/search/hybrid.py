"""Hybrid search: the matches by meaning and those by words, found at once and made one list."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from searchmesh_common.errors import DeadlineExceeded, Overloaded, ServiceError, Unavailable
from searchmesh_search.deadline import Deadline
from searchmesh_search.fusion import Ranking, fuse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from searchmesh_search.fusion import Fused, Place
    from searchmesh_search.searcher import Match

    Leg = Callable[[Deadline], Coroutine[Any, Any, Sequence[Match]]]

LEAST_DEPTH = 100
"""Matches of each list that are joined, at least."""

DEPTH_GROWTH = 4
"""How many times as many are joined for pages that lie further. In steps, for what a list holds
decides on the order: pages of one step never overlap."""

KEPT_BACK = 0.1
"""Of the time left: with `allow_partial`, what a part that hangs cannot take from the answer."""

AWAY = (Unavailable, Overloaded, DeadlineExceeded)
"""Errors of a part that is away, rather than of the query."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """How the two lists are joined."""

    dense_weight: float = 1.0
    lexical_weight: float = 1.0
    rank_constant: int = 60


@dataclass(frozen=True, slots=True)
class ListPlace:
    """Where a document stands in one of the lists, and what that is worth."""

    score: float
    """By the list's own measure."""
    rank: int
    """From 1."""
    contribution: float
    """To the fused score."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """How a fused score came about: the contributions add up to it."""

    dense: ListPlace | None
    lexical: ListPlace | None


@dataclass(frozen=True, slots=True)
class Lists:
    """The two lists, or why one of them is missing."""

    dense: Sequence[Match] | ServiceError
    lexical: Sequence[Match] | ServiceError


def depth(wanted: int) -> int:
    """Matches to ask each list for. wanted: those up to the end of the page."""
    enough = LEAST_DEPTH
    while enough < wanted:
        enough *= DEPTH_GROWTH
    return enough


async def both(dense: Leg, lexical: Leg, deadline: Deadline, *, allow_partial: bool) -> Lists:
    """The two lists, looked for at the same time.

    Raises the first error of either, which ends the other; with `allow_partial` that of a part
    that is away only where both lists are missing for it.
    """
    if not allow_partial:
        return Lists(*await _all(dense(deadline), lexical(deadline)))
    sooner = Deadline(deadline.at - KEPT_BACK * (deadline.at - time.monotonic()))
    lists = Lists(*await _all(_or_away(dense(sooner)), _or_away(lexical(sooner))))
    if isinstance(lists.dense, ServiceError) and isinstance(lists.lexical, ServiceError):
        raise lists.dense
    return lists


def joined(lists: Lists, fusion: Fusion) -> list[Match]:
    """The matches of both lists, one for each document, with the fused score and its `ranks`."""
    dense = _by_document(lists.dense)
    lexical = _by_document(lists.lexical)
    rankings = (
        Ranking(list(dense), fusion.dense_weight),
        Ranking(list(lexical), fusion.lexical_weight),
    )
    return [
        _match(one, dense.get(one.key), lexical.get(one.key))
        for one in fuse(rankings, fusion.rank_constant)
    ]


async def _all(*legs: Coroutine[Any, Any, Any]) -> list[Any]:
    tasks = [asyncio.create_task(leg) for leg in legs]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _or_away(
    leg: Coroutine[Any, Any, Sequence[Match]],
) -> Sequence[Match] | ServiceError:
    try:
        return await leg
    except AWAY as error:
        return error


def _by_document(matches: Sequence[Match] | ServiceError) -> dict[str, Match]:
    if isinstance(matches, ServiceError):
        return {}
    return {match.near.document_id: match for match in matches}


def _match(fused: Fused, dense: Match | None, lexical: Match | None) -> Match:
    """What is shown is the row of the list that counts more; of two generations the newer, for the
    document was replaced between the two searches.
    """
    in_dense, in_lexical = fused.places
    shown = max(
        (
            (match.near.generation, place.contribution, match)
            for match, place in ((dense, in_dense), (lexical, in_lexical))
            if match is not None and place is not None
        ),
        key=lambda one: one[:2],
    )[2]
    ranks = Ranks(_list_place(dense, in_dense), _list_place(lexical, in_lexical))
    return replace(shown, near=replace(shown.near, score=fused.score), ranks=ranks)


def _list_place(match: Match | None, place: Place | None) -> ListPlace | None:
    if match is None or place is None:
        return None
    return ListPlace(match.near.score, place.rank, place.contribution)

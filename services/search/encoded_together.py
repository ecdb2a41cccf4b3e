"""The queries of one call, encoded together before they are searched for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from searchmesh_common.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from searchmesh_search.content import Content
    from searchmesh_search.deadline import Deadline
    from searchmesh_search.encoder_client import EncodedQuery
    from searchmesh_search.searcher import EncodeQuery

    Wanted = tuple[str, str, Content]
    """A model, its fingerprint, and what it is to encode."""


class EncodeQueries(Protocol):
    """Turns queries' contents into vectors of one model."""

    async def __call__(
        self, model: str, fingerprint: str, contents: Sequence[Content], deadline: Deadline
    ) -> Sequence[EncodedQuery | ServiceError]:
        """The vector, or that content's own error, of each content. Raises as `EncodeQuery`."""


class EncodedTogether:
    """An `EncodeQuery` that has its answers already, and asks another once for those it has not."""

    def __init__(
        self, outcomes: dict[Wanted, EncodedQuery | ServiceError], otherwise: EncodeQuery
    ) -> None:
        """outcomes: grows by what is asked for."""
        self._outcomes = outcomes
        self._otherwise = otherwise

    async def __call__(
        self, model: str, fingerprint: str, content: Content, deadline: Deadline
    ) -> EncodedQuery:
        wanted = (model, fingerprint, content)
        outcome = self._outcomes.get(wanted)
        if outcome is None:
            outcome = await self._otherwise(model, fingerprint, content, deadline)
            self._outcomes[wanted] = outcome
        if isinstance(outcome, ServiceError):
            raise outcome
        return outcome


async def encode_together(
    encode_queries: EncodeQueries, wanted: Iterable[Wanted], deadline: Deadline
) -> dict[Wanted, EncodedQuery | ServiceError]:
    """What became of each, equal ones being encoded once. What fails for a model as a whole is the
    error of all that were wanted of it.
    """
    contents: dict[tuple[str, str], list[Content]] = {}
    for model, fingerprint, content in dict.fromkeys(wanted):
        contents.setdefault((model, fingerprint), []).append(content)

    async def encode(
        model: str, fingerprint: str, some: Sequence[Content]
    ) -> Sequence[EncodedQuery | ServiceError]:
        try:
            return await encode_queries(model, fingerprint, some, deadline)
        except ServiceError as error:
            return [error] * len(some)

    encoded = await asyncio.gather(*(encode(*model, some) for model, some in contents.items()))
    return {
        (*model, content): outcome
        for (model, some), outcomes in zip(contents.items(), encoded, strict=True)
        for content, outcome in zip(some, outcomes, strict=True)
    }

"""Documents between the stream that brings them and the disk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_search.parts import parts

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DOCUMENTS = 500
MAX_BYTES = 1 << 20
"""A batch is no larger than either, unless one document alone is."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A document that has arrived."""

    stored: bytes
    """What is kept of it: opaque here."""
    digest: bytes
    """Tells it from others."""


class Intake:
    """Gathers what arrives while the batch before it is put on disk, one batch and one message at
    the most: a stream that brings more is not read until there is room.
    """

    def __init__(self) -> None:
        self._arrivals: list[Arrival] = []
        self._bytes = 0
        self._has_ended = False
        self._changed = asyncio.Condition()

    async def put(self, arrivals: Sequence[Arrival]) -> None:
        """Add documents; waits while there are as many as a batch takes."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._is_full)
            self._arrivals += arrivals
            self._bytes += sum(map(_size, arrivals))
            self._changed.notify_all()

    async def end(self) -> None:
        """No document comes any more."""
        async with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    async def take(self) -> Sequence[Arrival]:
        """The next batch, as soon as there is any document; empty after the last."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._arrivals or self._has_ended)
            batches = parts(self._arrivals, _size, most=MAX_DOCUMENTS, most_size=MAX_BYTES)
            batch = next(batches, [])
            del self._arrivals[: len(batch)]
            self._bytes -= sum(map(_size, batch))
            self._changed.notify_all()
            return batch

    @property
    def _is_full(self) -> bool:
        return len(self._arrivals) >= MAX_DOCUMENTS or self._bytes >= MAX_BYTES


def _size(arrival: Arrival) -> int:
    return len(arrival.stored)

"""Whether the event loop still turns, as seen from other threads."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_BEATS = 10
"""Beats within the time that is allowed, so that one which is late is no alarm."""


class Heartbeat:
    """Beats with the event loop; safe to ask from any thread."""

    def __init__(self, stall_seconds: float) -> None:
        """stall_seconds: time without a beat after which the loop counts as stalled."""
        self._stall_seconds = stall_seconds
        self._last = time.monotonic()

    @property
    def stalled(self) -> bool:
        """Whether the loop has not turned for too long: it hangs, and nobody is answered."""
        return time.monotonic() - self._last > self._stall_seconds

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat until the block ends."""
        self._last = time.monotonic()
        task = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._stall_seconds / _BEATS)
            self._last = time.monotonic()

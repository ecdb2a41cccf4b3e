"""Tells those who follow an import on this replica that it has changed.

The journal has what changed; this only spares them waiting until they look again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from searchmesh_search.wait_within import wait_within


class Changes:
    """Who waits for a change of which import."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def tell(self, import_id: str) -> None:
        """Wake those who wait for a change of this import."""
        for event in self._waiting.get(import_id, ()):
            event.set()

    async def wait(self, import_id: str, seconds: float) -> None:
        """Return at the next change, and after that time at the latest."""
        event = asyncio.Event()
        self._waiting[import_id].add(event)
        try:
            await wait_within(event, seconds)
        finally:
            self._waiting[import_id].discard(event)
            if not self._waiting[import_id]:
                del self._waiting[import_id]

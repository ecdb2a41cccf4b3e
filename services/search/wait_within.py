"""Waiting for an event, for so long."""

from __future__ import annotations

import asyncio


async def wait_within(event: asyncio.Event, seconds: float) -> None:
    """Return once the event is set, and after that time at the latest."""
    try:
        # not wait_for, which until Python 3.12 loses a cancellation that meets the event
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

"""Waiting for an event, for so long."""

from __future__ import annotations

import asyncio

import pytest

from searchmesh_search.wait_within import wait_within


async def test_it_ends_with_the_event_and_without() -> None:
    event = asyncio.Event()
    await asyncio.wait_for(wait_within(event, 0.01), 10)
    event.set()
    await asyncio.wait_for(wait_within(event, 3600), 10)


async def test_a_cancellation_that_meets_the_event_is_kept() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(wait_within(event, 3600))
    await asyncio.sleep(0)
    event.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

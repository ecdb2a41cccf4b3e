"""Work on many items, a few at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

Item = TypeVar("Item")
Result = TypeVar("Result")

SEARCHES_AT_ONCE = 4
"""Searches of one call that are under way at a time: enough to keep the engine busy while others
read what they found, too few to crowd out other callers."""


async def at_once(
    most: int, work: Callable[[Item], Awaitable[Result]], items: Iterable[Item]
) -> list[Result]:
    """What `work` makes of each item, in their order, with at most so many under way.

    Raises the first error, once the others are cancelled.
    """
    room = asyncio.Semaphore(most)

    async def one(item: Item) -> Result:
        async with room:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except ExceptionGroup as errors:
        # a request has one reason to fail
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]

"""Work that is too much for the event loop goes to a thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

ITEMS_ON_LOOP = 200
"""So many hits, or KiB of documents, are handled well within a millisecond."""


async def off_loop(
    items: int,
    work: Callable[Parameters, Result],
    *arguments: Parameters.args,
    **named: Parameters.kwargs,
) -> Result:
    """Run `work`: at once where its items are few, which is quicker, and on a thread where they
    would keep the event loop for more than about a millisecond.
    """
    if items <= ITEMS_ON_LOOP:
        return work(*arguments, **named)
    return await asyncio.to_thread(work, *arguments, **named)

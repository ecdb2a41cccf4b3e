"""Sequences cut into parts of bounded number and size: calls, messages, batches, pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")


def parts(
    items: Sequence[Item], size_of: Callable[[Item], int], *, most: int, most_size: int
) -> Iterator[Sequence[Item]]:
    """Cut where either bound would be passed; an item that is too large goes alone.

    most: items of a part. most_size: of a part, in the unit of `size_of`.
    """
    start = size = 0
    for place, item in enumerate(items):
        one = size_of(item)
        if place > start and (place - start >= most or size + one > most_size):
            yield items[start:place]
            start, size = place, 0
        size += one
    if start < len(items):
        yield items[start:]

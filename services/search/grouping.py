"""At most so many of each group, the best of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

Item = TypeVar("Item")


def best_of_groups(items: Iterable[tuple[Item, Hashable | None]], size: int) -> list[Item]:
    """The first `size` items of each group, in their order. An item of group None is one of its
    own.
    """
    taken: Counter[Hashable] = Counter()
    best = []
    for item, group in items:
        if group is not None:
            taken[group] += 1
            if taken[group] > size:
                continue
        best.append(item)
    return best

"""Values in numbers that one statement takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Value = TypeVar("Value")

MAX_VALUES = 500
"""Most values in one IN list: every database takes as many."""


def chunks(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """At most MAX_VALUES at a time, in order."""
    for start in range(0, len(values), MAX_VALUES):
        yield values[start : start + MAX_VALUES]

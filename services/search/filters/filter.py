"""A filter as a tree, immutable. Two are equal when they ask the same in the same order.

`text.py` and the contract's `filter_tree` make one without knowing a collection; `check.py` says
whether it fits the fields that a collection declares, `evaluation.py` what it means.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DEPTH = 32
"""Filters within each other: what nests deeper is refused before it is walked."""

MAX_TERMS = 10_000
"""Values and fields that a filter compares with, all in all."""

Value = str | int | float | bool


class Operator(enum.Enum):
    """How two values are compared, as the text form writes it."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a request a condition stands."""

    path: str
    """Of the field: `filter`, or for example `filter_tree.all_of.filters[3].comparison`."""
    character: int | None = None
    """In the text form, counted from 1 in code points; None in the tree."""

    def fault(self, part: str, description: str) -> FieldViolation:
        """part: the field of the condition's message that is at fault, for example `value`."""
        if self.character is not None:
            return FieldViolation(self.path, f"at character {self.character}: {description}")
        return FieldViolation(f"{self.path}.{part}" if part else self.path, description)


NOWHERE = Place("filter")


@dataclass(frozen=True, slots=True)
class Comparison:
    """True when an attribute compares so with the value."""

    field: str
    operator: Operator
    value: Value
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Inclusion:
    """True when an attribute equals one of the values, at least one."""

    field: str
    values: Sequence[Value]
    """A tuple."""
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Between:
    """True when an attribute lies between two values, both included."""

    field: str
    low: Value
    high: Value
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Prefix:
    """True when a string attribute begins with the prefix, which is not empty."""

    field: str
    prefix: str
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Exists:
    """True when a document has the attribute and it is not null."""

    field: str
    place: Place = dataclasses.field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Not:
    """True when the filter is not; so it is where a document lacks the attribute."""

    filter: Filter


@dataclass(frozen=True, slots=True)
class AllOf:
    """True when every filter is."""

    filters: Sequence[Filter]
    """A tuple, of at least one."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when at least one filter is."""

    filters: Sequence[Filter]
    """A tuple, of at least one."""


Condition = Comparison | Inclusion | Between | Prefix | Exists
"""What asks about one attribute; false where a document lacks it."""

Filter = Condition | Not | AllOf | AnyOf


def having(where: Filter | None, field: str) -> Filter:
    """True for documents that have the field and that `where` is true for; None: for all."""
    exists = Exists(field)
    return exists if where is None else AllOf((where, exists))


def terms(filter_: Filter) -> int:
    """Values and fields that it compares with."""
    match filter_:
        case AllOf() | AnyOf():
            return sum(terms(one) for one in filter_.filters)
        case Not():
            return terms(filter_.filter)
        case Inclusion():
            return len(filter_.values)
        case Between():
            return 2
        case _:
            return 1


def too_deep(place: Place) -> FieldViolation:
    """The fault of a filter that nests too deep."""
    return place.fault("", f"nests deeper than {MAX_DEPTH} levels; take parentheses or NOTs away")


def too_long() -> str:
    """The fault of a filter that has too many terms."""
    return f"has more than {MAX_TERMS} terms; ask in parts, or give documents an attribute for it"

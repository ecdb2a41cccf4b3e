"""What a filter means, in Python: what every engine is held to.

A condition about an attribute that a document lacks, or that is null, is false whatever it asks,
`!=` included; so NOT of it is true. Strings compare by code point.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from searchmesh_search.filters.filter import (
    AllOf,
    AnyOf,
    Between,
    Comparison,
    Exists,
    Inclusion,
    Not,
    Operator,
    Prefix,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from searchmesh_search.filters.filter import Condition, Filter, Value

_COMPARE: Mapping[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: operator.eq,
    Operator.NOT_EQUAL: operator.ne,
    Operator.LESS: operator.lt,
    Operator.LESS_OR_EQUAL: operator.le,
    Operator.GREATER: operator.gt,
    Operator.GREATER_OR_EQUAL: operator.ge,
}


def matches(filter_: Filter, attributes: Mapping[str, Value | None]) -> bool:
    """Whether a filter is true for attributes, both of the types that are declared."""
    match filter_:
        case AllOf():
            return all(matches(one, attributes) for one in filter_.filters)
        case AnyOf():
            return any(matches(one, attributes) for one in filter_.filters)
        case Not():
            return not matches(filter_.filter, attributes)
        case _:
            value = attributes.get(filter_.field)
            return value is not None and holds(filter_, value)


def holds(condition: Condition, value: Any) -> bool:
    """Whether a condition is true for a value that there is."""
    match condition:
        case Comparison():
            return _COMPARE[condition.operator](value, condition.value)
        case Inclusion():
            return value in condition.values
        case Between():
            return bool(condition.low <= value <= condition.high)
        case Prefix():
            return str(value).startswith(condition.prefix)
        case Exists():
            return True

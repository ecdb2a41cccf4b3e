"""A filter written as text: what `text.parse` reads back as the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_search.filters import strings
from searchmesh_search.filters.filter import (
    AllOf,
    AnyOf,
    Between,
    Comparison,
    Exists,
    Inclusion,
    Not,
    Prefix,
)

if TYPE_CHECKING:
    from searchmesh_search.filters.filter import Condition, Filter, Value


def write(filter_: Filter) -> str:
    """Equal filters are equal texts."""
    match filter_:
        case AllOf() | AnyOf():
            joint = " AND " if isinstance(filter_, AllOf) else " OR "
            return joint.join(_within(one) for one in filter_.filters)
        case Not():
            return f"NOT {_within(filter_.filter)}"
        case _:
            return _condition(filter_)


def _within(filter_: Filter) -> str:
    written = write(filter_)
    return f"({written})" if isinstance(filter_, AllOf | AnyOf) else written


def _condition(condition: Condition) -> str:
    name = f"`{condition.field}`"
    match condition:
        case Comparison():
            return f"{name} {condition.operator.value} {_value(condition.value)}"
        case Inclusion():
            return f"{name} IN ({', '.join(map(_value, condition.values))})"
        case Between():
            return f"{name} BETWEEN {_value(condition.low)} AND {_value(condition.high)}"
        case Prefix():
            return f"{name} LIKE {_pattern(condition.prefix)}"
        case Exists():
            return f"EXISTS {name}"


def _value(value: Value) -> str:
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case str():
            return strings.write(value)
        case _:
            return repr(value)


def _pattern(prefix: str) -> str:
    written = strings.write(prefix).replace("%", r"\%").replace("_", r"\_")
    return f'{written[:-1]}%"'

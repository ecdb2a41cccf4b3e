"""Whether a filter fits the fields that a collection declares."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from searchmesh_common.errors import FieldViolation, InvalidRequest
from searchmesh_search.document_checks import MAX_INTEGER
from searchmesh_search.engine import FieldType
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
from searchmesh_search.filters.strings import write
from searchmesh_search.filters.tokens import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_search.engine import DeclaredField
    from searchmesh_search.filters.filter import Condition, Filter, Value

_MOST_FAULTS = 50
"""Put into words; the rest is counted."""
_MOST_NAMES = 20

_TYPES = {
    FieldType.STRING: "a string",
    FieldType.INT64: "a whole number",
    FieldType.DOUBLE: "a number",
    FieldType.BOOL: "true or false",
}
_ALIKE = frozenset({Operator.EQUAL, Operator.NOT_EQUAL})


def checked(filter_: Filter, fields: Sequence[DeclaredField]) -> Filter:
    """The filter with each value of its field's type: int of INT64, float of DOUBLE.

    Raises InvalidRequest for fields that are not declared and values of another type.
    """
    check = _Check(fields)
    fitting = check.filter(filter_)
    if check.faults:
        raise InvalidRequest(
            *check.faults[:_MOST_FAULTS], omitted=max(0, len(check.faults) - _MOST_FAULTS)
        )
    return fitting


def require_declared(name: str, fields: Sequence[DeclaredField], path: str) -> None:
    """Raises InvalidRequest for a name that no field has. path: where it stands in the request."""
    names = [one.name for one in fields]
    if name not in names:
        raise InvalidRequest.of(path, _undeclared(name, names))


class _Check:
    """One walk over a filter, which goes on after a fault."""

    def __init__(self, fields: Sequence[DeclaredField]) -> None:
        self.faults: list[FieldViolation] = []
        self._types = {one.name: one.type for one in fields}

    def filter(self, filter_: Filter) -> Filter:
        match filter_:
            case AllOf() | AnyOf():
                return type(filter_)(tuple(self.filter(one) for one in filter_.filters))
            case Not():
                return Not(self.filter(filter_.filter))
            case _:
                return self._condition(filter_)

    def _condition(self, condition: Condition) -> Condition:
        type_ = self._types.get(condition.field)
        if type_ is None:
            part = "exists" if isinstance(condition, Exists) else "field"
            self._blame(condition, part, _undeclared(condition.field, list(self._types)))
            return condition
        match condition:
            case Comparison():
                if type_ is FieldType.BOOL and condition.operator not in _ALIKE:
                    self._blame(condition, "operator", _no_order(condition))
                value = self._value(condition, type_, "value", condition.value)
                return replace(condition, value=value)
            case Inclusion():
                values = tuple(
                    self._value(condition, type_, f"values[{place}]", value)
                    for place, value in enumerate(condition.values)
                )
                return replace(condition, values=values)
            case Between():
                if type_ is FieldType.BOOL:
                    self._blame(condition, "field", _no_order(condition))
                low = self._value(condition, type_, "low", condition.low)
                high = self._value(condition, type_, "high", condition.high)
                return replace(condition, low=low, high=high)
            case Prefix() if type_ is not FieldType.STRING:
                self._blame(
                    condition,
                    "field",
                    f"{condition.field} is declared {type_.value}; a prefix is one of strings",
                )
        return condition

    def _value(self, condition: Condition, type_: FieldType, part: str, value: Value) -> Value:
        """The value as its field has it; as it was where it is at fault."""
        match type_, value:
            case (FieldType.STRING, str()) | (FieldType.BOOL, bool()):
                return value
            case ((FieldType.INT64 | FieldType.DOUBLE), int() | float()) if not _is_bool(value):
                fault = _number_fault(type_, value)
                if fault is None:
                    return int(value) if type_ is FieldType.INT64 else float(value)
                self._blame(condition, part, f"{_written(value)} given, {fault}")
                return value
        self._blame(
            condition,
            part,
            f"{_written(value)} given, {condition.field} is declared {type_.value}: "
            f"give {_TYPES[type_]}",
        )
        return value

    def _blame(self, condition: Condition, part: str, description: str) -> None:
        self.faults.append(condition.place.fault(part, description))


def _is_bool(value: Value) -> bool:
    return isinstance(value, bool)


def _number_fault(type_: FieldType, value: float) -> str | None:
    if not math.isfinite(value):
        return "give a finite number"
    if type_ is FieldType.DOUBLE:
        return None
    if not float(value).is_integer():
        return "int64 is declared: give a whole number"
    if abs(value) >= MAX_INTEGER:
        return "2^53 or more in magnitude, which no attribute is; give a smaller number"
    return None


def _undeclared(name: str, names: Sequence[str]) -> str:
    if not names:
        return f"{shown(name)} is not declared, nor is any field of this collection"
    listed = ", ".join(names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{shown(name)} is not declared; the collection's fields are {listed}{more}"


def _no_order(condition: Condition) -> str:
    return f"{condition.field} is declared bool, which has no order; use = or !="


def _written(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return shown(write(value))
        case _:
            return shown(str(value))

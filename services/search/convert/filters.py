"""Filters of requests, in either form.

Whoever takes `filter` and `filter_tree` calls `where`, off the event loop by `size` where there is
much of it. What it gives knows no collection: `check.checked` then says whether it fits one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from searchmesh.search.v1 import filter_pb2 as pb
from searchmesh_common.errors import InvalidRequest
from searchmesh_search.filters import text
from searchmesh_search.filters.filter import (
    MAX_DEPTH,
    MAX_TERMS,
    AllOf,
    AnyOf,
    Between,
    Comparison,
    Exists,
    Inclusion,
    Not,
    Operator,
    Place,
    Prefix,
    too_deep,
    too_long,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf import struct_pb2

    from searchmesh.search.v1 import document_service_pb2, search_service_pb2
    from searchmesh_search.filters.filter import Filter, Value

    Filtered = (
        search_service_pb2.SearchRequest
        | search_service_pb2.RecommendRequest
        | search_service_pb2.ClassifyRequest
        | search_service_pb2.AnswerRequest
        | search_service_pb2.FacetsRequest
        | document_service_pb2.DeleteDocumentsRequest
        | document_service_pb2.CountDocumentsRequest
    )

MAX_FILTERS = 1000
"""Of one list of a tree."""

_BYTES_EACH = 20
"""Of a filter, for an item of `off_loop`."""

_OPERATORS: Mapping[pb.ComparisonOperator.ValueType, Operator] = {
    pb.COMPARISON_OPERATOR_EQUAL: Operator.EQUAL,
    pb.COMPARISON_OPERATOR_NOT_EQUAL: Operator.NOT_EQUAL,
    pb.COMPARISON_OPERATOR_LESS: Operator.LESS,
    pb.COMPARISON_OPERATOR_LESS_OR_EQUAL: Operator.LESS_OR_EQUAL,
    pb.COMPARISON_OPERATOR_GREATER: Operator.GREATER,
    pb.COMPARISON_OPERATOR_GREATER_OR_EQUAL: Operator.GREATER_OR_EQUAL,
}


def where(request: Filtered) -> Filter | None:
    """The filter of a request; None where it has none.

    Raises InvalidRequest for a text that cannot be read, a tree that breaks the contract, both
    forms at once, or too large a filter.
    """
    if not request.HasField("filter_tree"):
        return text.parse(request.filter) if request.filter else None
    if request.filter:
        raise InvalidRequest.of("filter", "give filter or filter_tree, not both")
    return _Tree().filter(request.filter_tree, "filter_tree", 1)


def size(request: Filtered) -> int:
    """How many items of `off_loop` its filter is."""
    tree = request.filter_tree.ByteSize() if request.HasField("filter_tree") else 0
    return (len(request.filter) + tree) // _BYTES_EACH


class _Tree:
    """One walk over a tree, which ends at its first fault.

    It keeps the rules of filter.proto: the validator of requests would look at all of the millions
    of filters that a message may hold, and let no other call go on meanwhile.
    """

    def __init__(self) -> None:
        self._terms = 0

    def filter(self, message: pb.Filter, path: str, depth: int) -> Filter:
        place = Place(path)
        if depth > MAX_DEPTH:
            raise InvalidRequest(too_deep(place))
        match message.WhichOneof("node"):
            case "all_of":
                return AllOf(self._filters(message.all_of, f"{path}.all_of", depth))
            case "any_of":
                return AnyOf(self._filters(message.any_of, f"{path}.any_of", depth))
            case "negation":
                return Not(self.filter(message.negation, f"{path}.negation", depth + 1))
            case "comparison":
                return self._comparison(message.comparison, Place(f"{path}.comparison"))
            case "inclusion":
                return self._inclusion(message.inclusion, Place(f"{path}.inclusion"))
            case "between":
                return self._between(message.between, Place(f"{path}.between"))
            case "prefix":
                return self._prefix(message.prefix, Place(f"{path}.prefix"))
            case "exists":
                self._count(1)
                return Exists(message.exists, place)
        raise InvalidRequest(place.fault("node", "required: set one of its fields"))

    def _filters(self, message: pb.FilterList, path: str, depth: int) -> tuple[Filter, ...]:
        _require_count(len(message.filters), MAX_FILTERS, Place(path), "filters")
        return tuple(
            self.filter(one, f"{path}.filters[{place}]", depth + 1)
            for place, one in enumerate(message.filters)
        )

    def _comparison(self, message: pb.Comparison, place: Place) -> Comparison:
        self._count(1)
        operator = _OPERATORS.get(message.operator)
        if operator is None:
            raise InvalidRequest(place.fault("operator", "required: one that the contract names"))
        value = _value(message.value, place, "value")
        return Comparison(message.field, operator, value, place)

    def _inclusion(self, message: pb.Inclusion, place: Place) -> Inclusion:
        _require_count(len(message.values), MAX_TERMS, place, "values")
        self._count(len(message.values))
        values = tuple(
            _value(one, place, f"values[{index}]") for index, one in enumerate(message.values)
        )
        return Inclusion(message.field, values, place)

    def _between(self, message: pb.Between, place: Place) -> Between:
        self._count(2)
        low, high = _value(message.low, place, "low"), _value(message.high, place, "high")
        return Between(message.field, low, high, place)

    def _prefix(self, message: pb.Prefix, place: Place) -> Prefix:
        self._count(1)
        if not message.prefix:
            raise InvalidRequest(place.fault("prefix", "must not be empty; ask with exists"))
        return Prefix(message.field, message.prefix, place)

    def _count(self, terms: int) -> None:
        self._terms += terms
        if self._terms > MAX_TERMS:
            raise InvalidRequest.of("filter_tree", too_long())


def _require_count(count: int, most: int, place: Place, part: str) -> None:
    if not 1 <= count <= most:
        raise InvalidRequest(place.fault(part, f"{count} given, 1 to {most} allowed"))


def _value(message: struct_pb2.Value, place: Place, part: str) -> Value:
    kind = message.WhichOneof("kind")
    if kind in {"string_value", "number_value", "bool_value"}:
        value: Any = getattr(message, str(kind))
        return _whole(value) if isinstance(value, float) else value
    if kind == "null_value":
        given = "null given; ask with exists, or a negation of it"
    else:
        given = "required: a string, a number or a boolean"
    raise InvalidRequest(place.fault(part, given))


def _whole(value: float) -> int | float:
    """A number of a Struct as the text form would have it: whole ones are integers."""
    return int(value) if value.is_integer() else value

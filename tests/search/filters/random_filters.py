"""Random filters over fields of every type, and random attributes for them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from searchmesh_search.document_checks import MAX_INTEGER
from searchmesh_search.engine import DeclaredField, FieldType
from searchmesh_search.filters.filter import (
    AllOf,
    AnyOf,
    Between,
    Comparison,
    Exists,
    Filter,
    Inclusion,
    Not,
    Operator,
    Prefix,
)

FIELDS = (
    DeclaredField("in", FieldType.STRING),
    DeclaredField("vector", FieldType.INT64),
    DeclaredField("price", FieldType.DOUBLE),
    DeclaredField("sold", FieldType.BOOL),
)

AWKWARD = (
    "",
    "a",
    "b",
    "ab",
    "it's",
    '"',
    "\\",
    '\\"',
    "\\'",
    "\\n",
    "\n",
    "\r\n",
    "a\nb",
    "\t",
    "\u0001",
    "100%",
    "a_b",
    "%",
    "_",
    "*",
    "{in}",
    '" or f_vector > 0 or f_in == "',
    "' or '1'='1",
    '"] or f_in in ["',
    "é",
    "e\u0301",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "😀",
    "\U0010ffff",
    "x" * 300,
)
"""Strings that an engine could take for something else."""

# an engine may have no way to say a zero, or a carriage return that no line feed follows
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\r\0\x0c")
STRINGS = st.sampled_from(AWKWARD) | st.text(CHARACTERS, max_size=4)
PREFIXES = STRINGS.filter(lambda one: one != "" and not one.endswith("\r\n"))
INTEGERS = st.sampled_from((0, 1, -1, MAX_INTEGER - 1, 1 - MAX_INTEGER)) | st.integers(
    1 - MAX_INTEGER, MAX_INTEGER - 1
)
DOUBLES = st.sampled_from((0.0, -0.0, 0.1, 5e-324, -1e15)) | st.floats(
    -(2.0**52), 2.0**52, allow_nan=False
)

VALUES: dict[FieldType, st.SearchStrategy[Any]] = {
    FieldType.STRING: STRINGS,
    FieldType.INT64: INTEGERS,
    FieldType.DOUBLE: DOUBLES,
    FieldType.BOOL: st.booleans(),
}


def attributes() -> st.SearchStrategy[dict[str, Any]]:
    """Of a document: of each field a value, a null or nothing."""
    values = {one.name: st.none() | VALUES[one.type] for one in FIELDS}
    return st.fixed_dictionaries({}, optional=values)


@st.composite
def conditions(draw: st.DrawFn) -> Filter:
    field = draw(st.sampled_from(FIELDS))
    value = VALUES[field.type]
    has_order = field.type is not FieldType.BOOL
    operators = list(Operator) if has_order else [Operator.EQUAL, Operator.NOT_EQUAL]
    name = field.name
    of_all: list[st.SearchStrategy[Filter]] = [
        st.builds(Comparison, st.just(name), st.sampled_from(operators), value),
        st.builds(Inclusion, st.just(name), st.lists(value, min_size=1, max_size=4).map(tuple)),
        st.just(Exists(name)),
    ]
    if has_order:
        of_all.append(st.builds(Between, st.just(name), value, value))
    if field.type is FieldType.STRING:
        of_all.append(st.builds(Prefix, st.just(name), PREFIXES))
    return draw(st.one_of(of_all))


def filters() -> st.SearchStrategy[Filter]:
    """Filters that fit FIELDS."""

    def joined(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
        parts = st.lists(inner, min_size=2, max_size=4).map(tuple)
        return st.builds(Not, inner) | st.builds(AllOf, parts) | st.builds(AnyOf, parts)

    return st.recursive(conditions(), joined, max_leaves=8)

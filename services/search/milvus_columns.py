"""How declared fields are stored: as two columns each, the value and whether there is one, for
neither Milvus Lite nor a server before 2.5 has nullable ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from searchmesh_search.engine import FieldType
from searchmesh_search.milvus_stubs import schema

if TYPE_CHECKING:
    from searchmesh_search.engine import DeclaredField

_TYPES = schema.DataType


@dataclass(frozen=True, slots=True)
class Column:
    """The values of a declared field."""

    type: int
    scalars: str
    """Name of the member of ScalarField."""
    array: Any
    empty: str | int | float | bool
    """Stored where there is no value."""


COLUMNS = {
    FieldType.STRING: Column(_TYPES.VarChar, "string_data", schema.StringArray, ""),
    FieldType.INT64: Column(_TYPES.Int64, "long_data", schema.LongArray, 0),
    FieldType.DOUBLE: Column(_TYPES.Double, "double_data", schema.DoubleArray, 0.0),
    FieldType.BOOL: Column(_TYPES.Bool, "bool_data", schema.BoolArray, False),
}


def value_column(declared: DeclaredField) -> str:
    """Name of the column of its values."""
    # a prefix keeps callers' names apart from ours and from the words of expressions
    return f"f_{declared.name}"


def presence_column(declared: DeclaredField) -> str:
    """Name of the column that says whether there is a value."""
    return f"has_{declared.name}"

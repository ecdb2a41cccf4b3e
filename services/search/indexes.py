"""What each index can be told: its parameters by the contract's names, their ranges and defaults.

Checked here because an engine may take anything and go on with something else: a Milvus server
ignores a name that it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common.errors import FieldViolation
from searchmesh_search.engine import Index

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Parameter:
    """A whole number; both bounds are inclusive."""

    least: int
    most: int
    default: int


PARAMETERS: Mapping[str, Mapping[str, Parameter]] = {
    "FLAT": {},
    "IVF_FLAT": {"nlist": Parameter(1, 65_536, 128), "nprobe": Parameter(1, 65_536, 16)},
    "HNSW": {
        "m": Parameter(2, 2048, 16),
        "ef_construction": Parameter(1, 65_536, 200),
        "ef": Parameter(1, 65_536, 64),
    },
}
"""By index type. The ranges are those of `Index` in the contract."""


def with_defaults(index: Index) -> Index:
    """The index with a value for each of its parameters."""
    known = PARAMETERS.get(index.type, {})
    defaults = {name: one.default for name, one in known.items()}
    return Index(index.type, {**defaults, **index.parameters})


def index_faults(index: Index) -> list[FieldViolation]:
    """Parameters of another index, and values out of range."""
    known = PARAMETERS.get(index.type, {})
    faults = []
    for name, value in index.parameters.items():
        parameter = known.get(name)
        if parameter is None:
            what = f"not a parameter of index {index.type}; leave it out"
        elif not parameter.least <= value <= parameter.most:
            what = f"{value} given; {parameter.least} to {parameter.most}"
        else:
            continue
        faults.append(FieldViolation(f"collection.index.{name}", what))
    return faults

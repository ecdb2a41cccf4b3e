"""What an index can be told is checked before any engine is asked."""

from __future__ import annotations

import pytest

from searchmesh_search.engine import Index
from searchmesh_search.indexes import PARAMETERS, index_faults, with_defaults


@pytest.mark.parametrize("kind", PARAMETERS)
def test_defaults_are_in_their_ranges(kind: str) -> None:
    index = with_defaults(Index(kind))
    assert set(index.parameters) == set(PARAMETERS[kind])
    assert index_faults(index) == []


def test_what_is_given_stays() -> None:
    index = with_defaults(Index("HNSW", {"m": 8}))
    assert index.parameters == {"m": 8, "ef_construction": 200, "ef": 64}


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (
            Index("HNSW", {"m": 2049, "ef": 0}),
            [
                "collection.index.m: 2049 given; 2 to 2048",
                "collection.index.ef: 0 given; 1 to 65536",
            ],
        ),
        (
            Index("FLAT", {"nlist": 8}),
            ["collection.index.nlist: not a parameter of index FLAT; leave it out"],
        ),
        (Index("IVF_FLAT", {"nlist": 1, "nprobe": 65_536}), []),
    ],
)
def test_every_fault_is_told_with_its_field(index: Index, told: list[str]) -> None:
    assert [str(one) for one in index_faults(index)] == told

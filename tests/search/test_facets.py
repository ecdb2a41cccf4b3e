"""Documents counted by the values of a field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from searchmesh_common.errors import InvalidRequest
from searchmesh_search.engine import DeclaredField, FieldType
from searchmesh_search.facets import count_facets
from searchmesh_search.filters.text import parse

from .stack import document, soon
from .test_matching import FIELDS

if TYPE_CHECKING:
    from searchmesh_search.filters.filter import Filter

    from .stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_facets(stack: Stack) -> None:
    things = await stack.collection(fields=FIELDS)
    kinds = ["a"] * 3 + ["b"] * 3 + ["c"] * 2 + [""] + [None]
    await stack.upsert(
        things,
        *(
            document(f"d{place}", attributes={"kind": kind, "sold": place < 4})
            for place, kind in enumerate(kinds)
        ),
        document("bare"),
    )

    async def counted(field: str, where: Filter | None = None, limit: int = 10) -> Any:
        counts = await count_facets(stack.matching, things, field, where, limit, soon())
        return list(counts.facets), counts.other_count

    assert await counted("kind") == ([("a", 3), ("b", 3), ("c", 2), ("", 1)], 0)
    assert await counted("kind", limit=2) == ([("a", 3), ("b", 3)], 3)
    assert await counted("kind", parse("sold = true")) == ([("a", 3), ("b", 1)], 0)
    assert await counted("sold") == ([(False, 6), (True, 4)], 0)
    assert await counted("year") == ([], 0)
    with pytest.raises(InvalidRequest, match="field: colour is not declared"):
        await counted("colour")


async def test_zeros_of_both_signs_are_one_value(stack: Stack) -> None:
    things = await stack.collection(fields=(DeclaredField("price", FieldType.DOUBLE),))
    await stack.upsert(
        things,
        *(
            document(f"d{place}", attributes={"price": one})
            for place, one in enumerate((0.0, -0.0))
        ),
    )
    counts = await count_facets(stack.matching, things, "price", None, 10, soon())
    assert counts.facets == [(0.0, 2)]

"""A collection that has outgrown the embedded engine is told once, in the log and in a metric."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from searchmesh_search.embedded_rows import EmbeddedRows
from searchmesh_search.metrics import SearchMetrics

from .stack import document, soon

if TYPE_CHECKING:
    from .stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_is_told_once_for_each_crossing(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    registry = CollectorRegistry()
    rows = EmbeddedRows(stack.journal, stack.engine, SearchMetrics(registry), warning=3)

    async def look() -> list[object]:
        """The collections that this look warns of."""
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            await rows.look()
        return [vars(record)["fields"]["collection"] for record in caplog.records]

    small, large = await stack.collection("small"), await stack.collection("large")
    await stack.upsert(small, document("a"), document("b"))
    await stack.upsert(large, document("a"), document("b"))
    assert await look() == []
    assert registry.get_sample_value("search_embedded_rows") == 2
    await stack.upsert(large, document("c"))
    assert await look() == ["large"]
    assert registry.get_sample_value("search_embedded_rows") == 3
    assert await look() == []
    await stack.collections.delete("large", "", soon())
    assert await look() == []
    assert registry.get_sample_value("search_embedded_rows") == 2
    await stack.upsert(small, document("c"))
    assert await look() == ["small"]

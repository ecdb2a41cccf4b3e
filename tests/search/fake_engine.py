"""An engine in memory, until the real one is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_common.errors import NotFound, ServiceError
from searchmesh_search.engine import Capabilities, EngineHit, Metric, Row, VectorKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from searchmesh_search.engine import CollectionSchema


class FakeEngine:
    """Rows in dictionaries; `fail_next` makes the next calls raise."""

    capabilities = Capabilities(
        name="fake",
        version="1",
        metrics=frozenset(Metric),
        kinds=frozenset(VectorKind),
        indexes=frozenset({"FLAT", "IVF_FLAT"}),
        max_limit=16_384,
        max_dimension=32_768,
    )

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Row]] = {}
        self.fail_next: list[ServiceError] = []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def ping(self, timeout: float) -> None: ...

    async def create_collection(
        self, physical: str, schema: CollectionSchema, timeout: float
    ) -> None:
        self._maybe_fail()
        self.rows.setdefault(physical, {})

    async def drop_collection(self, physical: str, timeout: float) -> None:
        self._maybe_fail()
        self.rows.pop(physical, None)

    async def list_collections(self, timeout: float) -> list[str]:
        return list(self.rows)

    async def insert(self, physical: str, rows: Sequence[Row], timeout: float) -> bytes:
        self._maybe_fail()
        self._of(physical).update({row.key: row for row in rows})
        return b"token"

    async def delete(self, physical: str, keys: Sequence[str], timeout: float) -> bytes:
        self._maybe_fail()
        for key in keys:
            self._of(physical).pop(key, None)
        return b"token"

    async def search(
        self,
        physical: str,
        vectors: np.ndarray,
        limit: int,
        timeout: float,
        *,
        read_after: bytes = b"",
    ) -> list[list[EngineHit]]:
        return [
            sorted(
                (
                    EngineHit(row.document_id, row.generation, 0, float(row.vector @ query))
                    for row in self._of(physical).values()
                ),
                key=lambda hit: -hit.score,
            )[:limit]
            for query in vectors
        ]

    async def vectors(
        self, physical: str, keys: Sequence[str], timeout: float
    ) -> dict[str, np.ndarray]:
        held = self._of(physical)
        return {key: held[key].vector for key in keys if key in held}

    async def count_rows(self, physical: str, timeout: float) -> int:
        return len(self._of(physical))

    def _of(self, physical: str) -> dict[str, Row]:
        if physical not in self.rows:
            raise NotFound("collection", physical, "no such collection")
        return self.rows[physical]

    def _maybe_fail(self) -> None:
        if self.fail_next:
            raise self.fail_next.pop(0)

"""One mesh for each module of tests; each test takes collections of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from .mesh import address_of, running_encoder, running_search

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from searchmesh_common.server import Server

    from .mesh import Mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encoder(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with running_encoder(tmp_path_factory.mktemp("encoder")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(encoder: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    async with running_search(tmp_path_factory.mktemp("search"), address_of(encoder)) as mesh:
        yield mesh

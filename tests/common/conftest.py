"""The echo service, compiled once and served for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from .echo import Echo, compile_contract, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from searchmesh_common.contract import Contract


@pytest.fixture(scope="session")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return compile_contract(tmp_path_factory.mktemp("contract"))


@pytest_asyncio.fixture
async def echo(contract: Contract) -> AsyncIterator[Echo]:
    async with running(contract) as served:
        yield served

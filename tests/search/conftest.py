"""One mesh for each module of tests; each test takes collections of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from .engines import started
from .mesh import address_of, running_encoder, running_search
from .milvus_server import running_milvus
from .postgres import running_server
from .stack import open_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from searchmesh_common.server import Server
    from searchmesh_search.milvus_engine import MilvusEngine

    from .mesh import Mesh
    from .milvus_server import MilvusServer
    from .postgres import PostgresServer
    from .stack import Stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MilvusEngine]:
    async with started("milvus-lite", tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server for all tests that leave it as they found it."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def milvus_server() -> Iterator[MilvusServer]:
    """The same of Milvus: a test makes collections of its own."""
    with running_milvus() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database of a test's own."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A journal of a test's own, in turn on each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest_asyncio.fixture(loop_scope="module")
async def stack(engine: MilvusEngine, tmp_path: Path, journal_url: str) -> AsyncIterator[Stack]:
    """Storage of a test's own on the module's engine."""
    async with open_stack(tmp_path, engine, journal_url) as stack:
        yield stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def encoder(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with running_encoder(tmp_path_factory.mktemp("encoder")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(encoder: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    async with running_search(tmp_path_factory.mktemp("search"), address_of(encoder)) as mesh:
        yield mesh

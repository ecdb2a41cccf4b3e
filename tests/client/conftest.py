"""What tests of the client share."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from searchmesh import Client
from searchmesh.local import LocalMesh
from tests.client.both import KINDS
from tests.client.mesh import MODEL, free_connection
from tests.client.scripted import Scripted, scripted_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from searchmesh import Connection
    from tests.client.both import AnyClient


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server to be told what to answer."""
    with scripted_server() as scripted:
        yield scripted


@pytest.fixture(params=sorted(KINDS))
async def connect(
    request: pytest.FixtureRequest,
) -> AsyncIterator[Callable[[Connection], Awaitable[AnyClient]]]:
    """Makes a client of either kind, closed at the end of the test."""
    async with AsyncExitStack() as stack:

        async def make(connection: Connection) -> AnyClient:
            client = KINDS[request.param](connection)
            stack.push_async_callback(client.close)
            return client

        yield make


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """Both services, real, with the text model; shared, so a test uses a collection of its own."""
    with LocalMesh(tmp_path_factory.mktemp("mesh"), free_connection()) as running:
        running.start()
        running.wait_until_serving(timeout=90)
        yield running


@pytest.fixture
def collection(request: pytest.FixtureRequest, mesh: LocalMesh) -> Iterator[str]:
    """An empty collection of the text model, named after the test."""
    name = re.sub(r"\W+", "_", f"t_{request.node.name}".lower())[:60].rstrip("_")
    with Client(mesh.connection) as client:
        client.create_collection(name, model=MODEL)
        yield name
        client.delete_collection(name)

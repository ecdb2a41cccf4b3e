"""What tests of the client share."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from searchmesh import Client
from tests.client.both import KINDS
from tests.client.scripted import Scripted, scripted_server
from tests.mesh import MODEL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from searchmesh import Connection
    from tests.client.both import AnyClient
    from tests.mesh import Mesh


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


@pytest.fixture
def collection(request: pytest.FixtureRequest, mesh: Mesh) -> Iterator[str]:
    """An empty collection of the text model, named after the test."""
    name = re.sub(r"\W+", "_", f"t_{request.node.name}".lower())[:60].rstrip("_")
    with Client(mesh.connection) as client:
        client.create_collection(name, model=MODEL)
        yield name
        client.delete_collection(name)

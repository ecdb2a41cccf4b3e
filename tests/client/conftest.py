"""What tests of the client share."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.client.both import KINDS, AnyClient
from tests.client.scripted import Scripted, scripted_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from searchmesh import Connection


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

"""Both services, real, on free ports of this machine."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from searchmesh import Connection

MODEL = "all-minilm-l6-v2"


def free_addresses(count: int) -> list[str]:
    """Addresses of the loopback interface that nobody listens at."""
    with ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in bound:
            one.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{one.getsockname()[1]}" for one in bound]


def free_connection() -> Connection:
    """A connection to services that are yet to be started."""
    encoder, search = free_addresses(2)
    return Connection(encoder=encoder, search=search)

"""A mesh of its own for one measurement: free ports, a folder that is given."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from searchmesh.connection import Connection
from searchmesh.local import LocalMesh

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def local_mesh(home: Path) -> Iterator[tuple[LocalMesh, Connection]]:
    """Both services, serving, with all state in `home`; stopped when the block ends."""
    connection = free_addresses()
    with LocalMesh(home, connection) as mesh:
        mesh.start()
        mesh.wait_until_serving()
        yield mesh, connection


def resident_mib(mesh: LocalMesh) -> dict[str, float]:
    """Resident memory of each process of the mesh, the engine's apart, in MiB."""
    found = {}
    for service, child in mesh.started.items():
        process = psutil.Process(child.pid)
        found[str(service)] = process.memory_info().rss / 2**20
        for below in process.children(recursive=True):
            found[f"{service}: {below.name()}"] = below.memory_info().rss / 2**20
    return found


def free_addresses() -> Connection:
    """Addresses that nobody listens at; another program might still take one before we do."""
    with (
        socket.create_server(("127.0.0.1", 0)) as encoder,
        socket.create_server(("127.0.0.1", 0)) as search,
    ):
        return Connection(
            encoder=f"127.0.0.1:{encoder.getsockname()[1]}",
            search=f"127.0.0.1:{search.getsockname()[1]}",
        )


class Stopwatch:
    """Wall time of a block: `with Stopwatch() as watch: …` then `watch.seconds`."""

    seconds: float

    def __enter__(self) -> Stopwatch:
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._started

"""A mesh for tests: both services as processes on free ports, with the real model and engine."""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psutil

from searchmesh import Client, Connection, RetryPolicy, Service
from searchmesh.child import ChildProcess
from searchmesh.errors import ServiceError
from searchmesh.results import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

MODEL = "all-minilm-l6-v2"

HEALTH_NAMES = {
    Service.ENCODER: "searchmesh.encoder.v1.EncoderService",
    Service.SEARCH: "searchmesh.search.v1.SearchService",
}

_SETTINGS = {
    "ENCODER_METRICS_LISTEN": "127.0.0.1:0",
    "ENCODER_HEALTH_LISTEN": "127.0.0.1:0",
    "ENCODER_DRAIN_SECONDS": "0.2",
    "SEARCH_METRICS_LISTEN": "127.0.0.1:0",
    "SEARCH_HEALTH_LISTEN": "127.0.0.1:0",
    "SEARCH_DRAIN_SECONDS": "0.2",
    "SEARCH_COLLECT_INTERVAL_SECONDS": "1",
    "SEARCH_HEALTH_INTERVAL_SECONDS": "0.1",
    "SEARCH_HEALTH_TIMEOUT_SECONDS": "1",
}


@dataclass
class Mesh:
    """Both services on this machine; what is started here is stopped by `close`."""

    home: Path
    connection: Connection = field(
        default_factory=lambda: replace(
            free_connection(), timeout=20, retries=RetryPolicy(most_attempts=1)
        )
    )
    children: dict[Service, ChildProcess] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    """Settings beside those that every test needs."""

    def __post_init__(self) -> None:
        self.client = Client(self.connection)

    def start(self, *services: Service) -> None:
        """Start services, or both, and wait until they serve."""
        self.launch(*services)
        for service in services or Service:
            self.wait_until(service, Health.SERVING)

    def launch(self, *services: Service) -> None:
        """Start services, or both, and wait for nothing."""
        for service in services or Service:
            self.children[service] = ChildProcess(
                service,
                f"searchmesh_{service}",
                {
                    **os.environ,
                    **_SETTINGS,
                    "SEARCHMESH_HOME": str(self.home),
                    "ENCODER_LISTEN": self.connection.encoder,
                    "SEARCH_LISTEN": self.connection.search,
                    "SEARCH_ENCODER": self.connection.encoder,
                    **self.environ,
                },
                self.home / "logs" / f"{service}.log",
            )

    def stop(self, service: Service) -> int:
        """Stop a service as an operator does; returns its exit code."""
        child = self.children.pop(service)
        child.stop(30)
        assert child.exit_code is not None
        return child.exit_code

    def kill(self, service: Service) -> None:
        """End a service with SIGKILL."""
        child = self.children.pop(service)
        os.kill(child.pid, signal.SIGKILL)
        child.stop(30)

    def engine(self) -> psutil.Process:
        """The embedded engine's process."""
        (engine,) = self.engines()
        return engine

    def engines(self) -> list[psutil.Process]:
        """The same; none while it is being started."""
        search = psutil.Process(self.children[Service.SEARCH].pid)
        return [one for one in search.children(recursive=True) if "milvus" in one.name()]

    def health(self, service: Service, name: str | None = None) -> Health:
        """What a service says of itself; UNKNOWN while it does not answer."""
        try:
            return self.client.health(service, HEALTH_NAMES[service] if name is None else name)
        except ServiceError:
            return Health.UNKNOWN

    def wait_until(self, service: Service, health: Health) -> None:
        wait_for(lambda: self.health(service) is health, f"{service} to be {health}")

    def wait_until_serving(self) -> None:
        for service in Service:
            self.wait_until(service, Health.SERVING)

    def close(self) -> None:
        self.client.close()
        for service in list(self.children):
            self.stop(service)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Look until the condition holds; fails the test when it does not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def free_addresses(count: int, host: str = "127.0.0.1") -> list[str]:
    """Addresses of the loopback interface that nobody listens at."""
    with ExitStack() as stack:
        bound = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in bound:
            one.bind((host, 0))
        return [f"{host}:{one.getsockname()[1]}" for one in bound]


def free_connection() -> Connection:
    """A connection to services that are yet to be started."""
    encoder, search = free_addresses(2)
    return Connection(encoder=encoder, search=search)

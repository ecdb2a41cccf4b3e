"""Prometheus metrics: a server's registry, its HTTP port, and what is counted of each call."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from searchmesh_common.ports import StartError, split_address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

SECONDS_BUCKETS = (
    # from what a cache answers to what a caller waits at most, about three bounds a decade
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Bounds of every histogram of times, in seconds."""

OTHER = "other"
"""Service and method of a call to an rpc that does not exist: callers cannot make up labels."""


def new_registry(service: str) -> CollectorRegistry:
    """A registry with the process's own metrics. service: for example `encoder`."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    build = Info(f"{service}_build", "The version that runs.", registry=registry)
    build.info({"version": _version(), "python": platform.python_version()})
    return registry


def _version() -> str:
    try:
        return version("searchmesh")
    except PackageNotFoundError:
        return "unknown"


class MetricsServer:
    """Serves a registry over HTTP on a thread of its own."""

    def __init__(self, registry: CollectorRegistry, address: str) -> None:
        """address: host:port. Raises StartError where it cannot be bound."""
        host, port = split_address(address)
        self._server: WSGIServer
        self._thread: Thread
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise StartError(f"cannot serve metrics on {address}: {error.strerror}") from error

    @property
    def port(self) -> int:
        """The port that is bound, also where 0 was asked for."""
        return self._server.server_port

    def close(self) -> None:
        """Stop serving; returns once the port is free."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


_GO_CODE_NAMES = {
    code: code.name.title().replace("_", "") for code in grpc.StatusCode if code.name != "OK"
} | {grpc.StatusCode.OK: "OK", grpc.StatusCode.CANCELLED: "Canceled"}
"""As go-grpc-middleware and most dashboards spell them: OK, InvalidArgument, Canceled."""


@dataclass(frozen=True, slots=True)
class MethodMetrics:
    """What is counted of one rpc; the children are looked up once, not at every call."""

    started: Counter
    repeated: Counter
    handling_seconds: Histogram
    handled: Mapping[grpc.StatusCode, Counter]

    def finish(self, code: grpc.StatusCode, seconds: float) -> None:
        """Count a call that has ended."""
        self.handled[code].inc()
        self.handling_seconds.observe(seconds)


class CallMetrics:
    """The metrics of every call, under the names that the ecosystem's dashboards know."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("grpc_type", "grpc_service", "grpc_method")
        self._started = Counter(
            "grpc_server_started_total", "Calls that began.", labels, registry=registry
        )
        self._repeated = Counter(
            "grpc_server_repeated_total",
            "Calls that began and that their caller's gRPC says to have made before, by its retry "
            "policy.",
            labels,
            registry=registry,
        )
        self._handled = Counter(
            "grpc_server_handled_total",
            "Calls that ended, by status.",
            (*labels, "grpc_code"),
            registry=registry,
        )
        self._handling_seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from a call's first message to its end, in seconds.",
            labels,
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.unknown = self.method("unary", f"/{OTHER}/{OTHER}")

    def method(self, grpc_type: str, method: str) -> MethodMetrics:
        """grpc_type: for example `unary` or `bidi_stream`. method: `/package.Service/Method`."""
        service, name = method.removeprefix("/").split("/")
        labels = (grpc_type, service, name)
        return MethodMetrics(
            started=self._started.labels(*labels),
            repeated=self._repeated.labels(*labels),
            handling_seconds=self._handling_seconds.labels(*labels),
            handled={
                code: self._handled.labels(*labels, spelt) for code, spelt in _GO_CODE_NAMES.items()
            },
        )

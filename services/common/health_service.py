"""grpc.health.v1 over a `Health`: on the server's own port, and on a port for probes alone."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from searchmesh_common.ports import add_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from searchmesh_common.health import Health
    from searchmesh_common.heartbeat import Heartbeat

_PROBE_THREADS = 2
_PROBE_MOST_CALLS = 64

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def _response(serving: bool | None) -> health_pb2.HealthCheckResponse:
    if serving is None:
        return health_pb2.HealthCheckResponse(status=SERVICE_UNKNOWN)
    return health_pb2.HealthCheckResponse(status=SERVING if serving else NOT_SERVING)


class HealthServicer(health_pb2_grpc.HealthServicer):
    """On the server's own port; `Watch` is what balancing clients open."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def Check(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> health_pb2.HealthCheckResponse:
        """NOT_FOUND for a name that nobody has set."""
        serving = self._health.serving(request.service)
        if serving is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no such name: {request.service!r}")
        return _response(serving)

    async def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now and after every change, until the server stops."""
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def listener() -> None:
            loop.call_soon_threadsafe(changed.set)

        self._health.subscribe(listener)
        try:
            last = None
            while True:
                changed.clear()
                response = _response(self._health.serving(request.service))
                if response != last:
                    yield response
                    last = response
                if self._health.closed:
                    return
                await changed.wait()
        finally:
            self._health.unsubscribe(listener)


class _ProbeServicer(health_pb2_grpc.HealthServicer):
    def __init__(self, health: Health, heartbeat: Heartbeat) -> None:
        self._health = health
        self._heartbeat = heartbeat

    def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        serving = self._health.serving(request.service)
        if serving is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no such name: {request.service!r}")
        return _response(serving and not self._heartbeat.stalled)

    def Watch(self, _request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> None:
        # a watcher would keep one of the few threads for itself
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "this port answers Check; Watch the main port")


class ProbeServer:
    """Answers health checks in the clear from threads of its own, whatever the event loop is doing.

    While the event loop is stalled every name is NOT_SERVING, so that a liveness probe restarts a
    process that hangs. Probes of kubelet speak no TLS and carry no token.
    """

    def __init__(self, health: Health, heartbeat: Heartbeat, address: str) -> None:
        """Bind host:port and serve. Raises StartError where it cannot be bound."""
        self._threads = ThreadPoolExecutor(_PROBE_THREADS, thread_name_prefix="health")
        self._server = grpc.server(
            self._threads,
            maximum_concurrent_rpcs=_PROBE_MOST_CALLS,
            options=(("grpc.so_reuseport", 0),),
        )
        health_pb2_grpc.add_HealthServicer_to_server(
            _ProbeServicer(health, heartbeat), self._server
        )
        self.port = add_port(self._server, address)
        """The port that is bound, also where 0 was asked for."""
        self._server.start()

    def close(self) -> None:
        """Stop at once; returns when the port is free."""
        self._server.stop(grace=None).wait()
        self._threads.shutdown()

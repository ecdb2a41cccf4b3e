"""A gRPC server with all that goes around one: ports, health, metrics, reflection, a graceful end.

A service's composition root is an asynchronous context manager that yields one, not yet started:

    @asynccontextmanager
    async def build_server(settings: EncoderSettings) -> AsyncIterator[Server]:
        registry = new_registry("encoder")
        async with Encoder.open(settings, EncoderMetrics(registry)) as encoder:
            server = Server(settings, registry)
            server.add(add_EncoderServiceServicer_to_server, EncoderServicer(encoder), SERVICE)
            server.health.add_check(Check((SERVICE,), encoder.ping))
            yield server

Resources close in reverse order because context managers do. `lifecycle.run` serves such a
function; a test enters it, and `async with server:` starts and drains what it yields.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_channelz.v1.channelz import aio as channelz_aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from searchmesh_common.call_log import CallLog
from searchmesh_common.channels import SERVER_MIN_PING_SECONDS
from searchmesh_common.contract import Contract
from searchmesh_common.handlers import CallHandlers
from searchmesh_common.health import PROCESS, Health
from searchmesh_common.health_service import HealthServicer, ProbeServer
from searchmesh_common.heartbeat import Heartbeat
from searchmesh_common.logs import fields
from searchmesh_common.metrics import CallMetrics, MetricsServer
from searchmesh_common.open_calls import OpenCalls
from searchmesh_common.ports import add_port, read_tokens, server_credentials
from searchmesh_common.reflection import add_reflection
from searchmesh_common.tokens import TokenCheck
from searchmesh_common.validation import Validator

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from prometheus_client import CollectorRegistry

    from searchmesh_common.server_settings import ServerSettings

_log = logging.getLogger("searchmesh.server")

HEALTH_SERVICE: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
CHANNELZ_SERVICE: str = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that are bound, also where the settings ask for 0."""

    grpc: int
    health: int | None
    """Of the port for probes alone; None where the settings leave it out."""
    metrics: int | None
    """None where the settings leave it out."""


class Server:
    """One service's server; `async with server:` starts it, and drains and stops it at the end."""

    def __init__(
        self,
        settings: ServerSettings,
        registry: CollectorRegistry,
        contract: Contract | None = None,
    ) -> None:
        """contract: what the build wrote, unless another is given.

        Raises StartError where a file that the settings name cannot be read.
        """
        self.health = Health()
        self.validator = Validator()
        """For servicers of streams, which validate each message themselves."""
        self.draining = asyncio.Event()
        """Set when the server starts to drain: long streams then finish what they have and end."""
        self._settings = settings
        self._registry = registry
        self._contract = contract or Contract.load()
        self._services: list[str] = []
        self._ports: Ports | None = None
        self._resources = AsyncExitStack()
        tokens = read_tokens(settings.tokens_file)
        self._open_calls = OpenCalls()
        self._call_log = CallLog()
        self._handlers = CallHandlers(
            self._contract,
            self.validator,
            CallMetrics(registry),
            default_deadline_seconds=settings.default_deadline_seconds,
            max_message_bytes=settings.max_message_bytes,
            open_calls=self._open_calls,
            call_log=self._call_log,
            tokens=TokenCheck(tokens) if tokens else None,
        )
        self._grpc = grpc.aio.server(handlers=(self._handlers,), options=_server_options(settings))

    def add(self, add_to_server: Callable[[Any, Any], None], servicer: object, name: str) -> None:
        """Offer a service.

        add_to_server: the generated `add_…Servicer_to_server`. name: the service's full name, as in
        `DESCRIPTOR.services_by_name["EncoderService"].full_name`.
        """
        add_to_server(servicer, self._handlers)
        self._services.append(name)

    @property
    def ports(self) -> Ports:
        """The ports that are bound; only while the server runs."""
        if self._ports is None:
            raise RuntimeError("the server is not running")
        return self._ports

    async def __aenter__(self) -> Server:
        """Bind the ports and serve. Raises StartError where an address cannot be bound."""
        async with AsyncExitStack() as resources:
            self._ports = await self._start(resources)
            self._resources = resources.pop_all()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _raised: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Turn NOT_SERVING, wait, refuse new calls, let those in flight finish, close the ports."""
        try:
            await self._drain()
        finally:
            await self._resources.aclose()
            self._call_log.flush()
            self._ports = None

    async def _start(self, resources: AsyncExitStack) -> Ports:
        self._add_library_services()
        grpc_port = add_port(self._grpc, self._settings.listen, server_credentials(self._settings))
        resources.push_async_callback(self._grpc.stop, None)
        health_port = metrics_port = None
        if self._settings.metrics_listen:
            metrics = MetricsServer(self._registry, self._settings.metrics_listen)
            resources.push_async_callback(asyncio.to_thread, metrics.close)
            metrics_port = metrics.port
        if self._settings.health_listen:
            heartbeat = Heartbeat(self._settings.stall_seconds)
            await resources.enter_async_context(heartbeat.beating())
            probes = ProbeServer(self.health, heartbeat, self._settings.health_listen)
            resources.push_async_callback(asyncio.to_thread, probes.close)
            health_port = probes.port
        await resources.enter_async_context(self.health.checking())
        await self._grpc.start()
        self.health.set(PROCESS, serving=True)
        ports = Ports(grpc=grpc_port, health=health_port, metrics=metrics_port)
        _log.info(
            "listening",
            extra=fields(grpc=ports.grpc, health=ports.health, metrics=ports.metrics),
        )
        return ports

    def _add_library_services(self) -> None:
        self.add(
            health_pb2_grpc.add_HealthServicer_to_server,
            HealthServicer(self.health),
            HEALTH_SERVICE,
        )
        if self._settings.channelz:
            self.add(
                channelz_pb2_grpc.add_ChannelzServicer_to_server,
                channelz_aio.ChannelzServicer(),
                CHANNELZ_SERVICE,
            )
        if self._settings.reflection:
            add_reflection(self._handlers, self._contract, self._services)

    async def _drain(self) -> None:
        self.health.drain()
        self.draining.set()
        _log.info("draining")
        await asyncio.sleep(self._settings.drain_seconds)
        self.health.close()
        await self._open_calls.settle()
        loop = asyncio.get_running_loop()
        cut = loop.call_later(self._settings.stream_grace_seconds, self._open_calls.end_streams)
        # `stop` refuses new calls before it first gives way, so this comes after
        loop.call_soon(self._open_calls.release)
        try:
            await self._grpc.stop(self._settings.grace_seconds)
        finally:
            cut.cancel()
        _log.info("stopped")


def _server_options(settings: ServerSettings) -> list[tuple[str, int]]:
    return [
        # a second server on a taken port must fail, not share it
        ("grpc.so_reuseport", 0),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.keepalive_time_ms", settings.keepalive_seconds * 1000),
        ("grpc.keepalive_timeout_ms", settings.keepalive_timeout_seconds * 1000),
        ("grpc.http2.min_ping_interval_without_data_ms", round(SERVER_MIN_PING_SECONDS * 1000)),
        ("grpc.max_connection_age_ms", settings.max_connection_age_seconds * 1000),
        ("grpc.max_connection_age_grace_ms", settings.max_connection_age_grace_seconds * 1000),
        ("grpc.enable_channelz", int(settings.channelz)),
    ]

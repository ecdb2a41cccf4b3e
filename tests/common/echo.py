"""A small service over the whole of `searchmesh_common`, and a client for it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import descriptor_pb2, message_factory
from grpc_tools import protoc

from searchmesh_common.channels import Target, aio_channel
from searchmesh_common.contract import CONTRACT_FILE, Contract
from searchmesh_common.errors import InvalidRequest
from searchmesh_common.metrics import new_registry
from searchmesh_common.server import Server
from searchmesh_common.server_settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

SERVICE = "searchmesh.test.v1.EchoService"
TESTDATA = Path(__file__).with_name("testdata")


def compile_contract(folder: Path) -> Contract:
    """The echo service's descriptors with rules and comments; imports come from the contract."""
    image = folder / "echo.binpb"
    arguments = (
        f"-I{TESTDATA}",
        f"--descriptor_set_in={CONTRACT_FILE}",
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={image}",
        "echo.proto",
    )
    assert protoc.main(["protoc", *arguments]) == 0
    return Contract(descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()))


def message_class(contract: Contract, name: str) -> Any:
    """A class of the echo contract by its bare name."""
    return message_factory.GetMessageClass(
        contract.pool.FindMessageTypeByName(f"searchmesh.test.v1.{name}")
    )


class EchoServicer:
    """What it does with a text is decided by each test, in `behaviour`."""

    def __init__(self, contract: Contract, server: Server) -> None:
        self._request = message_class(contract, "EchoRequest")
        self._response = message_class(contract, "EchoResponse")
        self._server = server
        self.behaviour: Callable[[str], Awaitable[str]] | None = None
        self.entered = asyncio.Event()
        """Set when a call has reached the servicer."""
        self.cancelled = asyncio.Event()
        """Set when a call was cancelled in the servicer."""
        self.requests: list[Any] = []

    async def _say(self, text: str) -> Any:
        self.entered.set()
        try:
            said = await self.behaviour(text) if self.behaviour else text
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return self._response(text=said)

    async def Echo(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        return await self._say(request.text)

    async def Split(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for letter in request.text:
            yield await self._say(letter)

    async def Join(self, requests: AsyncIterator[Any], context: Any) -> Any:
        return await self._say("".join([request.text async for request in requests]))

    async def Chat(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            try:
                self._server.validator.validate(request)
            except InvalidRequest as error:
                yield self._response(text=error.message)
            else:
                yield await self._say(request.text)

    def add_to(self, _servicer: object, server: Any) -> None:
        """What a generated `add_…_to_server` does."""
        arities = {
            "Echo": grpc.unary_unary_rpc_method_handler,
            "Split": grpc.unary_stream_rpc_method_handler,
            "Join": grpc.stream_unary_rpc_method_handler,
            "Chat": grpc.stream_stream_rpc_method_handler,
        }
        handlers = {
            name: handler(
                getattr(self, name),
                request_deserializer=self._request.FromString,
                response_serializer=self._response.SerializeToString,
            )
            for name, handler in arities.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


class EchoClient:
    """Callables for the four rpcs and a constructor of requests."""

    def __init__(self, contract: Contract, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.request = message_class(contract, "EchoRequest")
        response = message_class(contract, "EchoResponse")
        codecs: Any = {
            "request_serializer": lambda message: (
                message if isinstance(message, bytes) else message.SerializeToString()
            ),
            "response_deserializer": response.FromString,
        }
        self.echo: Any = channel.unary_unary(f"/{SERVICE}/Echo", **codecs)
        self.split: Any = channel.unary_stream(f"/{SERVICE}/Split", **codecs)
        self.join: Any = channel.stream_unary(f"/{SERVICE}/Join", **codecs)
        self.chat: Any = channel.stream_stream(f"/{SERVICE}/Chat", **codecs)
        self.unknown: Any = channel.unary_unary(f"/{SERVICE}/Shout", **codecs)

    def requests(self, texts: Iterable[str]) -> list[Any]:
        """A request for each text."""
        return [self.request(text=text) for text in texts]


def quick_settings(**changes: Any) -> ServerSettings:
    """Settings of a server that does not wait when it ends."""
    quick = {"drain_seconds": 0.0, "stream_grace_seconds": 0.05, "metrics_listen": ""}
    return ServerSettings(**{**quick, **changes})


class Echo:
    """A running echo service and a client connected to it."""

    def __init__(self, server: Server, servicer: EchoServicer, client: EchoClient) -> None:
        self.server = server
        self.servicer = servicer
        self.client = client
        self.registry = server._registry

    def counted(self, name: str, **labels: str) -> float:
        """The value of a metric; 0 where it was never touched."""
        return self.registry.get_sample_value(name, labels) or 0.0


def build(contract: Contract, settings: ServerSettings) -> tuple[Server, EchoServicer]:
    """A server that offers the echo service, not started."""
    server = Server(settings, new_registry("echo"), contract)
    servicer = EchoServicer(contract, server)
    server.add(servicer.add_to, servicer, SERVICE)
    server.health.set(SERVICE, serving=True)
    return server, servicer


@asynccontextmanager
async def running(
    contract: Contract, settings: ServerSettings | None = None
) -> AsyncIterator[Echo]:
    """Serve on free ports and connect in the clear."""
    server, servicer = build(contract, settings or quick_settings())
    async with server:
        target = Target(f"127.0.0.1:{server.ports.grpc}")
        async with aio_channel(target) as channel:
            yield Echo(server, servicer, EchoClient(contract, channel))

"""A server drains without losing a call, and refuses to start by halves."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from searchmesh_common.channels import Target, aio_channel
from searchmesh_common.ports import StartError

from .echo import EchoClient, build, quick_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from searchmesh_common.contract import Contract

    from .echo import Echo


def plain_channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address)


def our_channel(address: str) -> grpc.aio.Channel:
    return aio_channel(Target(address))


@pytest.mark.parametrize("factory", [plain_channel, our_channel])
async def test_no_call_fails_while_a_server_is_replaced(
    contract: Contract, factory: Callable[[str], grpc.aio.Channel]
) -> None:
    """Callers keep calling through one channel while one server drains and the next one starts."""
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        address = f"127.0.0.1:{placeholder.getsockname()[1]}"
    answered = 0

    async def keep_calling(client: EchoClient) -> None:
        nonlocal answered
        while not stopping:
            await client.echo(client.request(text="a"), wait_for_ready=True, timeout=10)
            answered += 1

    async with factory(address) as channel, asyncio.TaskGroup() as callers:
        client = EchoClient(contract, channel)
        stopping = False
        for _ in range(8):
            callers.create_task(keep_calling(client))
        for _ in range(2):
            server, servicer = build(contract, quick_settings(listen=address, health_listen=""))
            async with server:
                await asyncio.wait_for(servicer.entered.wait(), 10)
        server, servicer = build(contract, quick_settings(listen=address, health_listen=""))
        async with server:
            await asyncio.wait_for(servicer.entered.wait(), 10)
            stopping = True
    assert answered > 20


async def test_calls_in_flight_finish(contract: Contract) -> None:
    server, servicer = build(contract, quick_settings())
    release = asyncio.Event()

    async def wait(text: str) -> str:
        await release.wait()
        return text

    servicer.behaviour = wait
    async with server:
        channel = aio_channel(Target(f"127.0.0.1:{server.ports.grpc}"))
        client = EchoClient(contract, channel)
        pending = asyncio.ensure_future(client.echo(client.request(text="a")))
        await asyncio.wait_for(servicer.entered.wait(), 5)
        asyncio.get_running_loop().call_later(0.1, release.set)
    assert (await pending).text == "a"
    await channel.close()


async def test_open_streams_are_told_to_go_elsewhere(contract: Contract) -> None:
    server, servicer = build(contract, quick_settings())
    async with server:
        channel = aio_channel(Target(f"127.0.0.1:{server.ports.grpc}"))
        client = EchoClient(contract, channel)
        stream = client.chat()
        await stream.write(client.request(text="a"))
        assert (await stream.read()).text == "a"
        assert not server.draining.is_set()
    assert server.draining.is_set()
    assert await stream.code() is grpc.StatusCode.UNAVAILABLE
    assert await stream.details() == "this server is draining; open the stream again"
    assert servicer.entered.is_set()
    await channel.close()


async def test_calls_that_outlast_the_grace_are_cut(contract: Contract) -> None:
    server, servicer = build(contract, quick_settings(grace_seconds=0.1))

    async def never(_text: str) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    servicer.behaviour = never
    async with server:
        channel = aio_channel(Target(f"127.0.0.1:{server.ports.grpc}"))
        client = EchoClient(contract, channel)
        pending = client.echo(client.request(text="a"))
        await asyncio.wait_for(servicer.entered.wait(), 5)
    assert await pending.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert servicer.cancelled.is_set()
    await channel.close()


@pytest.mark.parametrize("setting", ["listen", "metrics_listen", "health_listen"])
async def test_a_taken_port_stops_the_start_and_frees_the_rest(
    contract: Contract, setting: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server, _ = build(contract, quick_settings(**{setting: address}))
        with pytest.raises(StartError, match=address):
            await server.__aenter__()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.ports


@pytest.mark.parametrize("address", ["50051", "localhost", "localhost:x", "localhost:70000"])
async def test_an_address_that_is_none_stops_the_start(contract: Contract, address: str) -> None:
    server, _ = build(contract, quick_settings(listen=address))
    with pytest.raises(StartError, match="must be host:port"):
        await server.__aenter__()


async def test_two_servers_do_not_share_a_port(contract: Contract, echo: Echo) -> None:
    address = f"127.0.0.1:{echo.server.ports.grpc}"
    server, _ = build(contract, quick_settings(listen=address))
    with pytest.raises(StartError, match=f"cannot listen on {address}"):
        await server.__aenter__()


async def test_channelz_knows_the_server(echo: Echo) -> None:
    channel: Any = echo.client.channel
    stub: Any = channelz_pb2_grpc.ChannelzStub(channel)
    response = await stub.GetServers(channelz_pb2.GetServersRequest())
    assert response.server

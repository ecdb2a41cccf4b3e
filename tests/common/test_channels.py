"""Channels retry what may be retried and leave servers that do not serve."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import grpc
import pytest

from searchmesh_common import server as server_module
from searchmesh_common.channels import Target, aio_channel
from searchmesh_common.errors import Overloaded, Unavailable

from .echo import SERVICE, Echo, EchoClient, build, quick_settings

if TYPE_CHECKING:
    from searchmesh_common.contract import Contract


async def test_retries_while_a_server_is_unavailable(echo: Echo) -> None:
    attempts = 0

    async def fail_twice(text: str) -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise Unavailable("not yet")
        return text

    echo.servicer.behaviour = fail_twice
    assert (await echo.client.echo(echo.client.request(text="a"))).text == "a"
    assert attempts == 3


async def test_retries_a_large_request_too(echo: Echo) -> None:
    """gRPC's own buffer of 256 KiB would commit the call to its first attempt."""
    attempts = 0

    async def fail_once(text: str) -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 2:
            raise Unavailable("not yet")
        return text

    echo.servicer.behaviour = fail_once
    labels = {"grpc_type": "unary", "grpc_service": SERVICE, "grpc_method": "Echo"}
    assert echo.counted("grpc_server_repeated_total", **labels) == 0
    request = echo.client.request(text="a", items=[{"name": "x" * 20_000} for _ in range(100)])
    assert request.ByteSize() > 1_000_000
    assert (await echo.client.echo(request)).text == "a"
    assert attempts == 2
    assert echo.counted("grpc_server_repeated_total", **labels) == 1


async def test_repeats_all_calls_that_fail_at_once(echo: Echo) -> None:
    """A server that dies takes along whatever it has in hand."""
    in_hand = 100
    arrived = asyncio.Event()
    attempts = 0

    async def fail_the_first(text: str) -> str:
        nonlocal attempts
        attempts += 1
        if attempts > in_hand:
            return text
        if attempts == in_hand:
            arrived.set()
        await asyncio.wait_for(arrived.wait(), 20)
        raise Unavailable("gone")

    echo.servicer.behaviour = fail_the_first
    request = echo.client.request(text="a")
    await asyncio.gather(*(echo.client.echo(request, timeout=20) for _ in range(in_hand)))
    assert attempts == 2 * in_hand


async def test_stops_repeating_where_nearly_all_fails(echo: Echo) -> None:
    attempts = 0

    async def fail(_text: str) -> str:
        nonlocal attempts
        attempts += 1
        raise Unavailable("away")

    echo.servicer.behaviour = fail
    calls = 700
    request = echo.client.request(text="a")
    ended = await asyncio.gather(
        *(echo.client.echo(request, timeout=20) for _ in range(calls)), return_exceptions=True
    )
    assert all(isinstance(one, grpc.aio.AioRpcError) for one in ended)
    assert calls <= attempts < 2 * calls


@pytest.mark.slow
async def test_asking_for_signs_of_life_keeps_a_connection(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that finds it too often closes the connection."""
    assert await _connections(contract, monkeypatch, accepted_seconds=0.05, seconds=1) == 1
    assert await _connections(contract, monkeypatch, accepted_seconds=60, seconds=10) > 1


async def _connections(
    contract: Contract, monkeypatch: pytest.MonkeyPatch, accepted_seconds: float, seconds: float
) -> float:
    """Connections that a client makes who asks every 0.1 s; one that is closed is soon replaced."""
    monkeypatch.setattr(server_module, "SERVER_MIN_PING_SECONDS", accepted_seconds)
    server, servicer = build(contract, quick_settings())
    async with server:
        address = f"127.0.0.1:{server.ports.grpc}"
        target = Target(address, health_service=SERVICE, keepalive_seconds=0.1)
        async with aio_channel(target) as channel:
            client = EchoClient(contract, channel)
            served = Echo(server, servicer, client)
            await client.echo(client.request(text="a"), timeout=10)
            ends = time.monotonic() + seconds
            while (made := _watched(served)) == 1 and time.monotonic() < ends:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return made


def _watched(echo: Echo) -> float:
    """Every connection of a channel that checks health opens one watch."""
    labels = {"grpc_type": "server_stream", "grpc_service": "grpc.health.v1.Health"}
    return echo.counted("grpc_server_started_total", **labels, grpc_method="Watch")


async def test_does_not_retry_what_is_overloaded(echo: Echo) -> None:
    attempts = 0

    async def refuse(_text: str) -> str:
        nonlocal attempts
        attempts += 1
        raise Overloaded("no room")

    echo.servicer.behaviour = refuse
    with pytest.raises(grpc.aio.AioRpcError):
        await echo.client.echo(echo.client.request(text="a"))
    assert attempts == 1


async def test_balances_over_those_that_serve(contract: Contract) -> None:
    (first, one), (second, two) = (build(contract, quick_settings()) for _ in range(2))
    async with first, second:
        addresses = ",".join(f"127.0.0.1:{server.ports.grpc}" for server in (first, second))
        target = Target(f"ipv4:{addresses}", health_service=SERVICE)
        async with aio_channel(target) as channel:
            client = EchoClient(contract, channel)

            async def call_until(*, both: bool) -> None:
                for servicer in (one, two):
                    servicer.requests.clear()
                for _ in range(200):
                    await client.echo(client.request(text="a"), wait_for_ready=True, timeout=5)
                    if both and one.requests and two.requests:
                        return
                    if not both and len(two.requests) >= 5 and not one.requests:
                        return
                    if not both and one.requests:
                        one.requests.clear()
                        two.requests.clear()
                pytest.fail("the calls went elsewhere")

            await call_until(both=True)
            first.health.set(SERVICE, serving=False)
            await call_until(both=False)
            first.health.set(SERVICE, serving=True)
            await call_until(both=True)

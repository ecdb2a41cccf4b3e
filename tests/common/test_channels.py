"""Channels retry what may be retried and leave servers that do not serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

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
    request = echo.client.request(text="a", items=[{"name": "x" * 20_000} for _ in range(100)])
    assert request.ByteSize() > 1_000_000
    assert (await echo.client.echo(request)).text == "a"
    assert attempts == 2


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

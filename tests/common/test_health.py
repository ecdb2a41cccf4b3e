"""Health is asked for actively, heals by itself, and answers while the event loop is busy."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from searchmesh_common.errors import Unavailable
from searchmesh_common.health import PROCESS, Check, Health

from .echo import SERVICE, build, quick_settings

if TYPE_CHECKING:
    from searchmesh_common.contract import Contract

    from .echo import Echo

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def probe(port: int | None, name: str) -> int:
    """What a kubelet would do, from a thread of its own."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        response = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
    status: int = response.status
    return status


class Patient:
    """Something whose health a test decides; tells when it was asked."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hangs = False
        self.asked = asyncio.Semaphore(0)

    async def ping(self) -> None:
        self.asked.release()
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error


async def until(health: Health, name: str, *, serving: bool) -> None:
    changed = asyncio.Event()
    health.subscribe(changed.set)
    async with asyncio.timeout(5):
        while health.serving(name) is not serving:
            changed.clear()
            await changed.wait()
    health.unsubscribe(changed.set)


@pytest.mark.parametrize("error", [Unavailable("away"), RuntimeError("a surprise")])
async def test_a_check_fails_and_heals(error: Exception) -> None:
    health, patient = Health(), Patient()
    health.add_check(Check(("a", "b"), patient.ping, interval_seconds=0.01))
    assert health.serving("a") is False
    async with health.checking():
        assert (health.serving("a"), health.serving("b")) == (True, True)
        patient.error = error
        await until(health, "b", serving=False)
        assert health.serving("a") is False
        patient.error = None
        await until(health, "b", serving=True)


async def test_what_has_healed_serves_well_before_the_interval_is_over() -> None:
    health, patient = Health(), Patient()
    patient.error = Unavailable("away")
    health.add_check(Check(("a",), patient.ping, interval_seconds=600))
    async with health.checking():
        assert health.serving("a") is False
        patient.error = None
        await until(health, "a", serving=True)


async def test_a_check_that_hangs_has_failed() -> None:
    health, patient = Health(), Patient()
    patient.hangs = True
    health.add_check(Check(("a",), patient.ping, interval_seconds=0.01, timeout_seconds=0.01))
    async with health.checking():
        assert health.serving("a") is False
        patient.hangs = False
        await until(health, "a", serving=True)


async def test_nothing_is_asked_after_the_end() -> None:
    health, patient = Health(), Patient()
    health.add_check(Check(("a",), patient.ping, interval_seconds=0.001))
    async with health.checking():
        await patient.asked.acquire()
        await patient.asked.acquire()
    asked = patient.asked._value
    await asyncio.sleep(0.01)
    assert patient.asked._value == asked


def test_names_come_and_go() -> None:
    health = Health()
    assert health.serving("model") is None
    health.set("model", serving=True)
    assert health.serving("model") is True
    health.drain()
    assert health.serving("model") is False
    health.remove("model")
    assert health.serving("model") is None


async def test_answers_while_the_event_loop_is_blocked(echo: Echo) -> None:
    answers: list[int] = []
    prober = threading.Thread(target=lambda: answers.append(probe(echo.server.ports.health, "")))
    blocked_until = time.monotonic() + 5
    prober.start()
    while prober.is_alive() and time.monotonic() < blocked_until:
        time.sleep(0.01)  # noqa: ASYNC251 - the loop is blocked on purpose
    assert answers == [SERVING]


async def test_an_event_loop_that_hangs_serves_nothing_and_may_recover(contract: Contract) -> None:
    server, _ = build(contract, quick_settings(stall_seconds=0.1))
    async with server:
        port = server.ports.health

        def until(status: int) -> None:
            deadline = time.monotonic() + 10
            while probe(port, "") != status or probe(port, SERVICE) != status:
                assert time.monotonic() < deadline

        with ThreadPoolExecutor(1) as prober:
            prober.submit(until, NOT_SERVING).result()  # the loop hangs meanwhile
        await asyncio.to_thread(until, SERVING)


async def test_the_probe_port_answers_by_name(echo: Echo) -> None:
    port = echo.server.ports.health
    assert await asyncio.to_thread(probe, port, SERVICE) == SERVING
    echo.server.health.set(SERVICE, serving=False)
    assert await asyncio.to_thread(probe, port, SERVICE) == NOT_SERVING
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(probe, port, "nobody")
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_watch_follows_to_the_end(contract: Contract) -> None:
    server, _ = build(contract, quick_settings(stream_grace_seconds=60))
    async with server:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.ports.grpc}")
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == SERVING
        server.health.set(SERVICE, serving=False)
        assert (await watch.read()).status == NOT_SERVING
        server.health.set(SERVICE, serving=True)
        assert (await watch.read()).status == SERVING
        stranger = stub.Watch(health_pb2.HealthCheckRequest(service="nobody"))
        assert (await stranger.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    # the server did not wait for its watchers
    assert (await watch.read()).status == NOT_SERVING
    assert await watch.read() is grpc.aio.EOF
    await channel.close()


async def test_check_on_the_main_port(echo: Echo) -> None:
    stub: Any = health_pb2_grpc.HealthStub(echo.client.channel)
    request = health_pb2.HealthCheckRequest(service=PROCESS)
    assert (await stub.Check(request)).status == SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND

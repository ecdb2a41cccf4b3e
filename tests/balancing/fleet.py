"""Encoders as processes, each at an address of its own, behind one name."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from searchmesh.child import ChildProcess
from searchmesh_encoder.servicer import SERVICE
from tests.mesh import free_addresses
from tests.models import write_text_model

from .names import NAME, Names, serving_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

START_SECONDS = 60


class Fleet:
    """Encoders of the model `tiny`. As in a cluster all have one port, their addresses differ, and
    the name has those of the ones that are ready and are not told to stop.
    """

    def __init__(self, folder: Path, names: Names, environ: Mapping[str, str]) -> None:
        """environ: settings beside those that every test needs."""
        self._folder = folder
        self._names = names
        self._environ = environ
        self._cards = write_text_model(folder / "cards").parent
        # the addresses are of this machine alone, and nobody else is likely to use them
        self._port, self._metrics_port = (
            one.rpartition(":")[2] for one in free_addresses(2, _host(0))
        )
        self._children: dict[int, ChildProcess] = {}

    @property
    def target(self) -> str:
        """The encoders' address, as gRPC takes it."""
        return f"dns://{self._names.address}/{NAME}:{self._port}"

    async def start(self, *places: int, cards: Path | None = None) -> None:
        """Start encoders, wait until they serve, and publish them.

        cards: model cards other than those of all.
        """
        for place in places:
            self._children[place] = self._launch(place, cards or self._cards)
        for place in places:
            await self._until_serving(place)
            self._names.published.add(_host(place))

    async def stop(self, place: int) -> None:
        """Withdraw an encoder and let it drain, as a cluster does; returns when it has ended."""
        self._names.published.discard(_host(place))
        child = self._children.pop(place)
        await asyncio.to_thread(child.stop, 30)
        assert child.exit_code == 0, child.last_lines()

    async def kill(self, place: int) -> None:
        """End an encoder with SIGKILL; its name stays published."""
        child = self._children.pop(place)
        os.kill(child.pid, signal.SIGKILL)
        await asyncio.to_thread(child.stop, 30)

    async def close(self) -> None:
        await asyncio.gather(*(self.stop(place) for place in list(self._children)))

    async def calls(self, place: int) -> float:
        """Calls of Encode that an encoder has begun."""
        return await self._counted(place, "grpc_server_started_total", "Encode")

    async def repeated(self, place: int) -> float:
        """Those of them that their caller had made before."""
        return await self._counted(place, "grpc_server_repeated_total", "Encode")

    async def connections(self, place: int) -> float:
        """Connections that callers who watch health have made to it."""
        return await self._counted(place, "grpc_server_started_total", "Watch")

    async def _counted(self, place: int, name: str, method: str) -> float:
        url = f"http://{_host(place)}:{self._metrics_port}/metrics"
        text = await asyncio.to_thread(_read, url)
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels.get("grpc_method") == method
        )

    def _launch(self, place: int, cards: Path) -> ChildProcess:
        environ = {
            **os.environ,
            "SEARCHMESH_HOME": str(self._folder / "home"),
            "ENCODER_LISTEN": f"{_host(place)}:{self._port}",
            "ENCODER_METRICS_LISTEN": f"{_host(place)}:{self._metrics_port}",
            "ENCODER_HEALTH_LISTEN": "",
            "ENCODER_CARDS": str(cards),
            "ENCODER_DEFAULT_MODEL": "tiny",
            "ENCODER_WORKERS": "1",
            "ENCODER_DRAIN_SECONDS": "0.5",
            "ENCODER_STREAM_GRACE_SECONDS": "0.5",
            **self._environ,
        }
        log = self._folder / "logs" / f"encoder-{place}.log"
        return ChildProcess(f"encoder {place}", "searchmesh_encoder", environ, log)

    async def _until_serving(self, place: int) -> None:
        async with grpc.aio.insecure_channel(f"{_host(place)}:{self._port}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(
                health_pb2.HealthCheckRequest(service=SERVICE),
                wait_for_ready=True,
                timeout=START_SECONDS,
            )
            async for answer in watch:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    watch.cancel()
                    return


@asynccontextmanager
async def running_fleet(folder: Path, **environ: str) -> AsyncIterator[Fleet]:
    """A fleet without encoders yet; all that are started are stopped at the end."""
    async with serving_names() as names:
        fleet = Fleet(folder, names, environ)
        try:
            yield fleet
        finally:
            await fleet.close()


def _host(place: int) -> str:
    return f"127.0.0.{place + 2}"


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        text: str = response.read().decode()
    return text

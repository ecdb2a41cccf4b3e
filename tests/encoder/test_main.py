"""The encoder as a process: its help, its refusals, and a drain that fails no call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from searchmesh.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from searchmesh_common.settings import variables
from searchmesh_encoder.__main__ import main
from searchmesh_encoder.servicer import SERVICE
from searchmesh_encoder.settings import PREFIX, EncoderSettings

from .serving import NOT_SERVING, SERVING, texts

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    sys.argv, before = ["searchmesh-encoder", "--help"], sys.argv
    try:
        with pytest.raises(SystemExit) as caught:
            main()
    finally:
        sys.argv = before
    assert caught.value.code == 0
    page = capsys.readouterr().out
    for variable in variables(EncoderSettings, PREFIX):
        assert variable.name in page
        assert variable.description


@asynccontextmanager
async def process(tiny_home: Path, **variables_: str) -> AsyncIterator[Process]:
    environment = os.environ | {
        "SEARCHMESH_HOME": str(tiny_home),
        "ENCODER_LISTEN": "127.0.0.1:0",
        "ENCODER_METRICS_LISTEN": "",
        "ENCODER_HEALTH_LISTEN": "",
        **variables_,
    }
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "searchmesh_encoder"),
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


async def said(running: Process, message: str) -> dict[str, Any]:
    """The next log line with this message."""
    assert running.stderr
    async with asyncio.timeout(30):
        while line := await running.stderr.readline():
            fields: dict[str, Any] = json.loads(line)
            if fields["message"] == message:
                return fields
    raise AssertionError(f"the process ended and never said {message!r}")


@pytest.mark.parametrize(
    ("variables_", "code", "sentence"),
    [
        ({"ENCODER_WORKERS": "none"}, 2, "ENCODER_WORKERS='none' is not a whole number"),
        ({"ENCODER_DEFAULT_MODEL": "big"}, 1, "no model is called 'big'"),
        ({"ENCODER_CARDS": "/no/such/folder"}, 1, "is not a folder of cards"),
        ({"ENCODER_LISTEN": "no address"}, 1, "must be host:port"),
    ],
)
@pytest.mark.slow
async def test_a_start_that_cannot_be_says_why_in_a_line(
    tiny_home: Path, variables_: dict[str, str], code: int, sentence: str
) -> None:
    async with process(tiny_home, **variables_) as running:
        _, errors = await running.communicate()
        assert running.returncode == code
        assert sentence in errors.decode()
        assert "Traceback" not in errors.decode()


@pytest.mark.slow
async def test_sigterm_fails_no_call(tiny_home: Path, tiny_cards: Path) -> None:
    variables_ = {
        "ENCODER_CARDS": str(tiny_cards),
        "ENCODER_DEFAULT_MODEL": "tiny",
        "ENCODER_DRAIN_SECONDS": "0.5",
    }
    async with process(tiny_home, **variables_) as running:
        port = (await said(running, "listening"))["grpc"]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            encoder: Any = pb_grpc.EncoderServiceStub(channel)
            health: Any = health_pb2_grpc.HealthStub(channel)
            watching = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            while (await watching.read()).status != SERVING:
                pass
            draining = asyncio.Event()

            async def call_until_draining() -> int:
                answered = 0
                while not draining.is_set():
                    response = await encoder.Encode(texts(*["abc"] * 64))
                    answered += len(response.embeddings)
                return answered

            callers = [asyncio.create_task(call_until_draining()) for _ in range(8)]
            await encoder.Encode(texts("a"))
            running.send_signal(signal.SIGTERM)
            assert (await watching.read()).status == NOT_SERVING
            draining.set()
            assert all(await asyncio.gather(*callers))
        assert await asyncio.wait_for(running.wait(), 20) == 0
        assert await said(running, "stopped")

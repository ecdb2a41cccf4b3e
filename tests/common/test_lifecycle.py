"""A service's process from its start to its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from .echo import EchoClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from searchmesh_common.contract import Contract

PROGRAM = Path(__file__).with_name("service_process.py")


class Process:
    """The echo service in a process; its standard error is read line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def until(self, text: str) -> str:
        """The next line that holds a text."""
        assert self._process.stderr
        async with asyncio.timeout(30):
            async for raw in self._process.stderr:
                self.lines.append(raw.decode())
                if text in self.lines[-1]:
                    return self.lines[-1]
        pytest.fail(f"{text!r} did not come: {self.lines}")

    async def port(self) -> int:
        """The gRPC port, from the line that says that the server listens."""
        number: int = json.loads(await self.until('"listening"'))["grpc"]
        return number

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self) -> tuple[int, str]:
        """Exit code and all that was written to standard error."""
        assert self._process.stderr
        async with asyncio.timeout(30):
            rest = await self._process.stderr.read()
            code = await self._process.wait()
        return code, "".join(self.lines) + rest.decode()


@asynccontextmanager
async def started(folder: Path, *arguments: str, **settings: str) -> AsyncIterator[Process]:
    environment = {
        **os.environ,
        "ECHO_FOLDER": str(folder),
        "ECHO_DRAIN_SECONDS": "0.1",
        **{f"ECHO_{name.upper()}": value for name, value in settings.items()},
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_ends_with_0(
    tmp_path: Path, contract: Contract, number: signal.Signals
) -> None:
    async with started(tmp_path) as process:
        address = f"127.0.0.1:{await process.port()}"
        async with grpc.aio.insecure_channel(address) as channel:
            client = EchoClient(contract, channel)
            pending = asyncio.ensure_future(client.echo(client.request(text="0.4")))
            await process.until("entered")
            process.signal(number)
            assert (await pending).text == "0.4"
        code, said = await process.end()
    assert code == 0
    assert [word in said for word in ("stopping", "draining", "stopped", "closed")] == [True] * 4
    assert said.index('"stopped"') < said.index("closed\n")


async def test_a_second_signal_ends_at_once(tmp_path: Path, contract: Contract) -> None:
    async with started(tmp_path) as process:
        address = f"127.0.0.1:{await process.port()}"
        async with grpc.aio.insecure_channel(address) as channel:
            client = EchoClient(contract, channel)
            pending: Any = client.echo(client.request(text="60"))
            await process.until("entered")
            process.signal(signal.SIGTERM)
            await process.until("draining")
            process.signal(signal.SIGINT)
            code, _ = await process.end()
            assert await pending.code() is grpc.StatusCode.UNAVAILABLE
    assert code == 128 + signal.SIGINT


async def test_a_signal_ends_a_start_that_hangs(tmp_path: Path) -> None:
    async with started(tmp_path, hangs="true") as process:
        await process.until("hanging")
        process.signal(signal.SIGTERM)
        code, _ = await process.end()
    assert code == 0


async def test_bad_settings_end_with_2_and_a_line_each(tmp_path: Path) -> None:
    async with started(tmp_path, broken="perhaps", log_level="loud") as process:
        code, said = await process.end()
    assert code == 2
    assert said == (
        "echo: ECHO_LOG_LEVEL='loud' is not one of debug, info, warning, error\n"
        "echo: ECHO_BROKEN='perhaps' is not true or false\n"
    )


async def test_a_failed_start_ends_with_1_and_a_line(tmp_path: Path) -> None:
    async with started(tmp_path, broken="true") as process:
        code, said = await process.end()
    assert code == 1
    assert json.loads(said)["reason"] == "the engine does not start"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with started(tmp_path, listen=address) as process:
            code, said = await process.end()
    assert code == 1
    # gRPC itself says so too, in a line of its own
    *_, closed, last = said.splitlines()
    assert closed == "closed"
    assert f"cannot listen on {address}" in json.loads(last)["reason"]


async def test_unknown_settings_are_told(tmp_path: Path) -> None:
    async with started(tmp_path, something_of_others="1") as process:
        line = json.loads(await process.until("unknown setting"))
        await process.port()
    assert (line["variable"], line["level"]) == ("ECHO_SOMETHING_OF_OTHERS", "warning")


async def test_help_lists_the_settings(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), "--help", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert b"ECHO_MAX_MESSAGE_BYTES  (a whole number from 65536" in out
    assert b"ECHO_FOLDER  (a path; required)" in out

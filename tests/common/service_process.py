"""The echo service as a process of its own, for tests of its life."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path  # the settings are read at run time
from typing import TYPE_CHECKING

from searchmesh_common.errors import Unavailable
from searchmesh_common.lifecycle import run
from searchmesh_common.server_settings import ServerSettings

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.common.echo import build, compile_contract

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from searchmesh_common.server import Server


@dataclass(frozen=True, kw_only=True)
class ProcessSettings(ServerSettings):
    folder: Path
    """Where the contract is compiled."""

    broken: bool = False
    """Whether the start fails."""

    hangs: bool = False
    """Whether the start never ends."""


@asynccontextmanager
async def build_server(settings: ProcessSettings) -> AsyncIterator[Server]:
    """As a service's composition root."""
    if settings.broken:
        raise Unavailable("the engine does not start")
    if settings.hangs:
        sys.stderr.write("hanging\n")
        await asyncio.Event().wait()
    server, servicer = build(compile_contract(settings.folder), settings)

    async def wait(text: str) -> str:
        sys.stderr.write("entered\n")
        await asyncio.sleep(float(text))
        return text

    servicer.behaviour = wait
    try:
        yield server
    finally:
        sys.stderr.write("closed\n")


if __name__ == "__main__":
    sys.exit(run("echo", ProcessSettings, "ECHO_", build_server))

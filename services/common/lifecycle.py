"""A service's process: settings, logs, serving until told to stop, and the exit code.

    def main() -> int:
        return run("searchmesh-encoder", EncoderSettings, "ENCODER_", build_server)

The first SIGTERM or SIGINT drains and ends with 0; a second one ends the process at once. A service
may have commands beside serving, which the first argument names.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import uvloop

from searchmesh_common import logs
from searchmesh_common.errors import ServiceError
from searchmesh_common.logs import fields
from searchmesh_common.ports import StartError
from searchmesh_common.server_settings import ServerSettings
from searchmesh_common.settings import SettingsError, help_text, load, unknown_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from searchmesh_common.server import Server

_log = logging.getLogger("searchmesh.lifecycle")

_EXIT_START = 1
_EXIT_SETTINGS = 2
_EXIT_SIGNAL = 128

_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while others wait for it, a tenth of Python's default:
the event loop and the health port give it up many times a call, and wait each time."""

Settings = TypeVar("Settings", bound=ServerSettings)


@dataclass(frozen=True, slots=True)
class Command(Generic[Settings]):
    """Something that the program does instead of serving, with the same settings."""

    name: str
    help: str
    """One sentence."""
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Settings, argparse.Namespace], None]
    """Raises StartError, ServiceError or OSError where it cannot be done."""


def run(
    program: str,
    settings_type: type[Settings],
    prefix: str,
    build_server: Callable[[Settings], AbstractAsyncContextManager[Server]],
    arguments: Sequence[str] | None = None,
    commands: Sequence[Command[Settings]] = (),
) -> int:
    """Serve until SIGTERM or SIGINT, or do what a command says, and return the exit code.

    0 after a drain or for a command that is done, 2 for bad settings, 1 for anything else that
    stops the start or the command; the reason is on standard error in one line. `--help` lists
    every setting.
    """
    given = _parse_arguments(program, settings_type, prefix, arguments, commands)
    try:
        settings = load(settings_type, prefix, os.environ)
    except SettingsError as error:
        sys.stderr.write("".join(f"{program}: {fault}\n" for fault in error.faults))
        return _EXIT_SETTINGS
    for command in commands:
        if command.name == given.command:
            return _run_command(program, command, settings, given)
    logs.configure(settings.log_level, settings.log_format)
    sys.setswitchinterval(_SWITCH_SECONDS)
    for name in unknown_variables(settings_type, prefix, os.environ):
        _log.warning("unknown setting", extra=fields(variable=name))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(build_server(settings)))
    except (StartError, ServiceError, OSError) as error:
        _log.critical("cannot run", extra=fields(reason=str(error)))
        return _EXIT_START
    return 0


async def serve(building: AbstractAsyncContextManager[Server]) -> None:
    """Start what `building` yields, and drain it at the first SIGTERM or SIGINT.

    A signal that comes while the server is still being built ends that.
    """
    stop = _StopSignal()
    try:
        async with building as server, server:
            _spare_what_stays()
            await stop.wait()
    except asyncio.CancelledError:
        if not stop.came_early:
            raise
    finally:
        stop.close()


def _spare_what_stays() -> None:
    # what was imported and built so far stays to the end; looking through it for garbage would stop
    # every call for tens of milliseconds, again and again
    gc.collect()
    gc.freeze()


class _StopSignal:
    """SIGTERM and SIGINT: the first is waited for, the second ends the process."""

    _NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.came_early = False
        """Whether it came before anyone waited, and therefore cancelled the task."""
        self._came = asyncio.Event()
        self._waiting = False
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        for number in self._NUMBERS:
            self._loop.add_signal_handler(number, self._on_signal, number)

    async def wait(self) -> None:
        self._waiting = True
        await self._came.wait()

    def close(self) -> None:
        for number in self._NUMBERS:
            self._loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._came.is_set():
            os._exit(_EXIT_SIGNAL + number)
        _log.info("stopping", extra=fields(signal=number.name))
        self._came.set()
        if not self._waiting and self._task:
            self.came_early = True
            self._task.cancel()


def _run_command(
    program: str, command: Command[Settings], settings: Settings, given: argparse.Namespace
) -> int:
    try:
        command.run(settings, given)
    except (StartError, ServiceError, OSError) as error:
        sys.stderr.write(f"{program} {command.name}: {error}\n")
        return _EXIT_START
    except KeyboardInterrupt:
        return _EXIT_SIGNAL + signal.SIGINT
    return 0


def _parse_arguments(
    program: str,
    settings_type: type[Settings],
    prefix: str,
    arguments: Sequence[str] | None,
    commands: Sequence[Command[Settings]],
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        program,
        description="Serves. All settings are environment variables:",
        epilog=help_text(settings_type, prefix),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=None)
    if commands:
        choices = parser.add_subparsers(title="instead of serving", dest="command", metavar="")
        for one in commands:
            one.add_arguments(choices.add_parser(one.name, help=one.help, description=one.help))
    return parser.parse_args(arguments)

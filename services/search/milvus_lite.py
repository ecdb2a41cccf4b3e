"""The embedded engine's process: started, watched, started anew when it dies, ended.

Milvus Lite is a C++ program inside the package of that name. Its Python part is left alone: it
blocks for half a second at a start, never notices that the program died, and wants
`pkg_resources`, which setuptools no longer has.

The program blocks on the lock that its parent holds on a file and exits once it gets it, so it
ends with this process however that ends. It runs in a session of its own: a Ctrl-C at the terminal
must not end it before this process has drained.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import logging
import re
import sqlite3
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from searchmesh_common.errors import ServiceError, Unavailable
from searchmesh_common.logs import fields
from searchmesh_common.ports import StartError
from searchmesh_search.milvus_file import MilvusFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = logging.getLogger("searchmesh.engine")

RIDE_OVER_SECONDS = 3.0
"""How long a call waits for an engine that is being started, at most."""

_RESTART_DELAYS_SECONDS = (0.0, 0.1, 0.5, 2.0)
"""Before the first, second, … start after a death; the last for all that follow."""

_HEALTHY_SECONDS = 10.0
"""An engine that lived this long starts without delay when it dies."""

_WARM_UP_RETRY_SECONDS = 0.5
_SOCKET_POLL_SECONDS = 0.01
_END_SECONDS = 2.0

_MAX_SOCKET_BYTES = 107
"""Longest path of a unix socket on Linux."""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
"""Paths that gRPC does not take for something else within an address."""


class MilvusLite:
    """Milvus Lite over one file."""

    def __init__(self, file: Path, warm_up: Callable[[], Awaitable[None]]) -> None:
        """warm_up: makes a started engine ready; it raises our errors, and is then tried again."""
        self._file = MilvusFile(file)
        self._warm_up = warm_up
        self._up = asyncio.Event()
        self._trouble = "it is starting"
        self._socket = Path()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: _Process | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Where it listens, as gRPC takes it."""
        return f"unix:{self._socket}"

    @property
    def pid(self) -> int | None:
        """The process that runs now, or ran last."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process and keep it running; it is ready a moment later.

        Raises StartError when the file or the socket cannot be had, or the program is missing.
        """
        await asyncio.to_thread(self._file.claim)
        try:
            self._place_socket()
            process = await asyncio.to_thread(self._spawn, asyncio.get_running_loop())
        except (OSError, StartError) as error:
            await asyncio.to_thread(self._end)
            if isinstance(error, StartError):
                raise
            raise StartError(f"cannot start the engine: {error}") from error
        self._supervisor = asyncio.create_task(self._supervise(process), name="engine supervisor")

    async def close(self) -> None:
        """End the process and give the file up."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        self._up.clear()
        self._trouble = "it was closed"
        await asyncio.to_thread(self._end)

    def require_up(self) -> None:
        """Raises Unavailable when calls cannot be answered now."""
        if not self._up.is_set():
            raise Unavailable(f"the engine is away: {self._trouble}")

    async def wait_up(self, timeout: float) -> None:
        """Ride over a restart: wait at most `timeout` and RIDE_OVER_SECONDS; raises Unavailable."""
        if not self._up.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(timeout, RIDE_OVER_SECONDS)):
                    await self._up.wait()
        self.require_up()

    async def index_keys(self, table: str) -> None:
        """See `MilvusFile.index_keys`. Raises Unavailable where the file cannot be written."""
        try:
            await asyncio.to_thread(self._file.index_keys, table)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the engine's file cannot be written: {error}") from error

    async def require_room(self) -> None:
        """Raises Unavailable where the file's disk takes no more."""
        try:
            await asyncio.to_thread(self._file.require_room)
        except OSError as error:
            raise Unavailable(f"the engine's file cannot be written: {error.strerror}") from error

    async def _supervise(self, process: _Process) -> None:
        deaths = 0
        while True:
            lived_seconds = await self._serve(process)
            deaths = 1 if lived_seconds > _HEALTHY_SECONDS else deaths + 1
            delay_seconds = _RESTART_DELAYS_SECONDS[min(deaths, len(_RESTART_DELAYS_SECONDS)) - 1]
            self._trouble = f"its process ended with {process.code}"
            _log.error(
                "the engine's process ended, it is started again",
                extra=fields(code=process.code, lived_seconds=round(lived_seconds, 3)),
            )
            await asyncio.sleep(delay_seconds)
            process = await self._respawn()

    async def _serve(self, process: _Process) -> float:
        """Make a process ready, wait until it ends, and return how long it lived in seconds."""
        loop = asyncio.get_running_loop()
        born = loop.time()
        warming = asyncio.create_task(self._make_ready(process), name="engine warm-up")
        try:
            await process.ended.wait()
        finally:
            self._up.clear()
            warming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await warming
        return loop.time() - born

    async def _make_ready(self, process: _Process) -> None:
        await self._listening()
        while True:
            try:
                await self._warm_up()
            except ServiceError as error:
                self._trouble = error.message
                _log.warning("the engine is not ready", extra=fields(reason=error.message))
                await asyncio.sleep(_WARM_UP_RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - or the engine would stay away for good
                self._trouble = f"its start failed: {error!r}"
                _log.error("the engine's start failed", exc_info=error)
                await asyncio.sleep(_WARM_UP_RETRY_SECONDS)
            else:
                self._up.set()
                _log.info("the engine is ready", extra=fields(pid=process.pid))
                return

    async def _listening(self) -> None:
        """Wait for the socket: a gRPC channel that finds none backs off for a whole second."""
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(self._socket)
            except OSError:
                await asyncio.sleep(_SOCKET_POLL_SECONDS)
            else:
                writer.close()
                return

    async def _respawn(self) -> _Process:
        loop = asyncio.get_running_loop()
        while True:
            spawning = asyncio.ensure_future(asyncio.to_thread(self._spawn, loop))
            try:
                return await asyncio.shield(spawning)
            except asyncio.CancelledError:
                await spawning  # or a process would come to be after `close`
                raise
            except OSError as error:
                self._trouble = f"it cannot be started: {error}"
                _log.exception("cannot start the engine")
                await asyncio.sleep(_RESTART_DELAYS_SECONDS[-1])

    def _place_socket(self) -> None:
        """Beside the file, where this process writes anyway; in the temporary folder where that
        path is too long. Nobody else may reach the socket: the engine asks for no password."""
        beside = self._file.path.with_name(f"{self._file.path.name}.sock")
        if _is_socket_path(beside):
            self._socket = beside
            return
        try:
            self._temporary = tempfile.TemporaryDirectory(prefix="searchmesh-")
        except OSError as error:
            raise StartError(
                f"no place for the engine's socket: {beside} is no path for one, "
                f"and no temporary folder can be made: {error}"
            ) from error
        self._socket = Path(self._temporary.name) / "engine.sock"
        if not _is_socket_path(self._socket):
            raise StartError(
                f"no place for the engine's socket: neither {beside} nor {self._socket} is a path "
                f"of at most {_MAX_SOCKET_BYTES} plain characters; set TMPDIR to a short one"
            )

    def _spawn(self, loop: asyncio.AbstractEventLoop) -> _Process:
        self._socket.unlink(missing_ok=True)
        library = _library_folder()
        process = subprocess.Popen(  # noqa: S603 - a program of our own choice, no shell
            [
                str(library / "milvus"),
                str(self._file.path),
                self.address,
                "ERROR",
                str(self._file.lock_path),
            ],
            cwd=self._file.path.parent,
            # nothing of our environment is its business; without HOME it aborts
            env={
                "LD_LIBRARY_PATH": str(library),
                "HOME": str(self._file.path.parent),
                "GLOG_logtostderr": "1",
                "GLOG_minloglevel": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._process = _Process(process, loop)
        self._file.note_engine(process.pid)
        return self._process

    def _end(self) -> None:
        self._file.release()
        if self._process is not None:
            self._process.end()
        if self._temporary is not None:
            self._temporary.cleanup()
        elif self._socket.is_socket():
            self._socket.unlink(missing_ok=True)


class _Process:
    """The program at work; a thread hands on what it says and sees its end."""

    def __init__(self, process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self.pid = process.pid
        self.ended = asyncio.Event()
        self._process = process
        self._loop = loop
        self._thread = threading.Thread(target=self._watch, name="engine watch", daemon=True)
        self._thread.start()

    @property
    def code(self) -> int | None:
        """Its exit code; minus the signal's number where a signal ended it."""
        return self._process.returncode

    def end(self) -> None:
        """Wait for it to end now that the file is given up, and kill it when it does not."""
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join()

    def _watch(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                _log_line(line.decode(errors="replace").rstrip())
        self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop was closed first
            self._loop.call_soon_threadsafe(self.ended.set)


def _log_line(line: str) -> None:
    """The program's lines begin with a letter for their level; what it says of single calls comes
    back as those calls' errors too."""
    level = logging.DEBUG if line.startswith(("I", "W", "E")) else logging.ERROR
    _log.log(level, "the engine says", extra=fields(line=line))


def _is_socket_path(path: Path) -> bool:
    text = str(path)
    return len(text) <= _MAX_SOCKET_BYTES and _PLAIN_PATH.fullmatch(text) is not None


def _library_folder() -> Path:
    """Found without importing the package. Raises FileNotFoundError."""
    found = importlib.util.find_spec("milvus_lite")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("milvus-lite is not installed; install searchmesh[search]")
    return Path(found.submodule_search_locations[0]) / "lib"


def lite_version() -> str:
    """Version of the program."""
    return importlib.metadata.version("milvus-lite")

"""Servers as processes: started, awaited, measured, ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BENCHMARKS = Path(__file__).parents[1]
"""On the path of every process that runs modules of ours."""

_START_SECONDS = 120
_STOP_SECONDS = 10
_POLL_SECONDS = 0.1
_TAIL_LINES = 15

_MARK = "SEARCHMESH_BENCH_RUN"
"""Variable that all descendants of this process inherit, also those that leave their group."""


class ServerError(Exception):
    """A server did not start, or does not do what it should; holds the end of its log."""


@contextmanager
def all_ended() -> Iterator[None]:
    """Whatever is started within the block, and by what was started, is ended when it ends.

    Stopping server by server is gentler: this kills what that left.
    """
    mark = os.environ[_MARK] = uuid.uuid4().hex
    try:
        yield
    finally:
        del os.environ[_MARK]
        for one in psutil.process_iter():
            if _environ(one).get(_MARK) == mark and one.pid != os.getpid():
                with contextlib.suppress(psutil.Error):
                    one.kill()


def _environ(process: psutil.Process) -> Mapping[str, str]:
    try:
        found: Mapping[str, str] = process.environ()
    except (psutil.Error, OSError):  # ended, or somebody else's
        return {}
    return found


class ServerProcess:
    """A command and all processes below it, as one server; `with` ends them."""

    def __init__(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path
    ) -> None:
        """Starts it. environ: added to this process's own."""
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=log.parent,
                env=os.environ | dict(environ),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.stop()

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Ask again and again until it is ready. Raises ServerError where it ends before."""
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            if self._process.poll() is not None:
                raise self.error(f"ended with {self._process.returncode} before it served")
            if time.monotonic() > deadline:
                raise self.error(f"does not serve after {_START_SECONDS} s")
            time.sleep(_POLL_SECONDS)

    def error(self, sentence: str) -> ServerError:
        """An error of this server, with the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return ServerError("\n".join([f"{self.name} {sentence}", *lines]))

    def cpu_seconds(self) -> float:
        """CPU time that its processes have used, to the nanosecond."""
        # the clock of another process, as clock_getcpuclockid(3) names it
        return sum(time.clock_gettime((~one.pid << 3) | 2) for one in self._processes())

    def resident_bytes(self) -> int:
        """Resident memory of its processes together."""
        return sum(one.memory_info().rss for one in self._processes())

    def is_running(self) -> bool:
        """Whether its first process has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it as an operator would; by force what is left, of its group and below it."""
        below = self._processes()
        assert self._process.stdin
        try:
            self._process.stdin.close()
            if self.is_running():
                self._process.send_signal(signal.SIGTERM)
            psutil.wait_procs(below, _STOP_SECONDS)
        finally:  # also when the wait is cut short
            for one in below:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _processes(self) -> list[psutil.Process]:
        try:
            process = psutil.Process(self._process.pid)
            return [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def free_port() -> int:
    """A port that nobody listens at; another program might still take it before it is used."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port

"""Servers of others as processes that end with the tests, however these end."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class TetheredProcess:
    """A command that is ended when our end of a pipe closes, which the death of the tests does."""

    def __init__(
        self, command: Sequence[str], stop_signal: str, log: IO[bytes], **options: Any
    ) -> None:
        """stop_signal: what ends it, without the SIG. log: takes its output. options: of Popen."""
        tether = f'"$@" </dev/null & cat; kill -{stop_signal} $!; wait'
        self._process = subprocess.Popen(
            ["sh", "-c", tether, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **options,
        )

    def stop(self) -> None:
        """End it by its signal, and wait until it has."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def kill(self) -> None:
        """End it and all its processes with SIGKILL."""
        processes = self._processes()
        for one in processes:
            one.kill()
        psutil.wait_procs(processes, 30)
        self.stop()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """While no process of it moves; its ports still take connections."""
        processes = self._processes()
        for one in processes:
            one.suspend()
        try:
            yield
        finally:
            for one in processes:
                one.resume()

    def _processes(self) -> list[psutil.Process]:
        """All but the shell and the `cat` that hold the tether."""
        tether = psutil.Process(self._process.pid)
        return [one for one in tether.children(recursive=True) if one.name() != "cat"]

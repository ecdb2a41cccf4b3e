"""A service as a child process: started, watched, its log kept, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_TAIL_BYTES = 16 * 1024


class ChildProcess:
    """Runs a Python module as a process that ends with this one, however this one ends.

    Its output goes to a file; the one of the run before is kept beside it as `….previous.log`.
    """

    def __init__(self, name: str, module: str, environ: Mapping[str, str], log_file: Path) -> None:
        """Starts the process. environ: its whole environment."""
        self.name = name
        self.log_file = log_file
        log_file.parent.mkdir(parents=True, exist_ok=True)
        if log_file.exists():
            log_file.replace(log_file.with_suffix(".previous.log"))
        with log_file.open("wb") as log:
            # a session of its own: Ctrl-C at the terminal reaches only us, and we stop it in order
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "searchmesh.tethered", module],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def last_lines(self, count: int = 10) -> list[str]:
        """The end of its log."""
        with self.log_file.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            return log.read().decode(errors="replace").splitlines()[-count:]

    def ask_to_stop(self) -> None:
        """Send SIGTERM, which drains it; does not wait."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, grace_seconds: float) -> None:
        """Stop it and everything it started; by force what has not stopped in time."""
        self.ask_to_stop()
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        finally:
            # closing the tether any earlier would count as a second SIGTERM, which cuts calls
            if self._process.stdin:
                self._process.stdin.close()

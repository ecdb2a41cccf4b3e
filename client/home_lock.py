"""Who has a home folder: one process at a time starts services in it."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MOST_PID_BYTES = 32


class HomeInUseError(Exception):
    """Another process has the home."""

    def __init__(self, home: Path, pid: str) -> None:
        """pid: as the lock file has it; empty where its owner has not written it yet."""
        super().__init__(f"{home} is in use by {f'process {pid}' if pid else 'another process'}")


class HomeLock:
    """Holds the file `up.lock` of a home until `release`, or until this process ends.

    The lock is the kernel's, so a file that is left behind means nothing.
    """

    def __init__(self, home: Path) -> None:
        """Takes the lock; makes the folder where it is missing.

        Raises HomeInUseError, which names the process that has it.
        """
        home.mkdir(parents=True, exist_ok=True)
        # closed in the services that are started: they must not keep it
        self._file = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(self._file, _MOST_PID_BYTES, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise HomeInUseError(home, pid) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have the home."""
        os.ftruncate(self._file, 0)
        os.close(self._file)

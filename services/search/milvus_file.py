"""The embedded engine's file: owned by one process at a time, and prepared to write fast.

Milvus Lite keeps its rows in SQLite. Out of the box it finds a row by its key with a scan of the
whole table, and syncs the disk several times a write; both are properties of the file, so they are
set here: an index over the keys, and SQLite's write-ahead log, which is as durable.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import signal
import sqlite3
import struct
import tempfile
import time
from pathlib import Path

from searchmesh_common.logs import fields
from searchmesh_common.ports import StartError

_log = logging.getLogger("searchmesh.engine")

_NAME = re.compile(r"[A-Za-z0-9._-]{1,36}")
"""What Milvus Lite takes as the name of its file."""

_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")

_CLAIM_SECONDS = 2.0
"""A process that has just died may hold its file a moment longer."""

_POLL_SECONDS = 0.02
_BUSY_SECONDS = 10.0

_FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of 64-bit Linux: type, whence, start, length, process."""

_PROBE = bytes(64 << 10)

_claimed: set[Path] = set()
"""Files that this process owns: its own lock would not keep it from claiming one twice."""


class MilvusFile:
    """A file of Milvus Lite. Methods block; none may run beside another."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.lock_path = self.path.parent / f".{self.path.name}.lock"
        self._lock: int | None = None

    def claim(self) -> None:
        """Own the file: for this process alone, and no engine of a dead process still at work.

        Raises StartError where that cannot be had.
        """
        if not _NAME.fullmatch(self.path.name):
            raise StartError(
                f"{self.path.name!r} cannot name the engine's file: it takes 1 to 36 letters, "
                "digits, dots, underscores and hyphens"
            )
        if self.path in _claimed:
            raise self._in_use()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._wait_for_lock(self._lock)
            _claimed.add(self.path)
            self._end_orphan(self._lock)
            self._prepare()
        except OSError as error:
            self.release()
            raise StartError(f"cannot open the engine's file {self.path}: {error}") from error
        except sqlite3.Error as error:
            self.release()
            raise StartError(f"{self.path} is no file of the engine: {error}") from error
        except StartError:
            self.release()
            raise

    def release(self) -> None:
        """Give the file up; the engine that works on it ends by itself."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            _claimed.discard(self.path)

    def note_engine(self, pid: int) -> None:
        """Remember the engine's process, for whoever claims the file after this process died."""
        assert self._lock is not None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(pid).encode(), 0)

    def index_keys(self, table: str) -> None:
        """Let the engine find the rows of a table by key without a scan.

        The engine fails writes that it is asked for meanwhile; there must be none.
        """
        assert _TABLE.fullmatch(table)
        with contextlib.closing(self._connect()) as connection:
            connection.execute(
                f'CREATE INDEX IF NOT EXISTS "{table}_by_key" ON "{table}" (milvus_id)'
            )

    def require_room(self) -> None:
        """Raises OSError where the file's disk takes no more, which the engine itself does not say:
        it fails."""
        with tempfile.TemporaryFile(dir=self.path.parent) as probe:
            probe.write(_PROBE)
            probe.flush()
            os.fsync(probe.fileno())

    def _wait_for_lock(self, lock: int) -> None:
        give_up = time.monotonic() + _CLAIM_SECONDS
        while True:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > give_up:
                    raise self._in_use() from None
                # an engine gets the lock from an owner that has died only; one that was stopped
                # in that moment would keep it
                holder = _holder_of(lock)
                if self._is_engine(holder):
                    _kill(holder)
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _end_orphan(self, lock: int) -> None:
        """An engine ends with the process that owned the file, unless it was stopped just then:
        continued later, it would wait for our lock and work beside our own engine."""
        noted = os.pread(lock, 32, 0)
        if not noted.isdigit():
            return
        pid = int(noted)
        give_up = time.monotonic() + _CLAIM_SECONDS
        while self._is_engine(pid):
            if time.monotonic() > give_up:
                raise StartError(f"process {pid} still works on {self.path} and cannot be ended")
            _kill(pid)
            time.sleep(_POLL_SECONDS)

    def _is_engine(self, pid: int) -> bool:
        """Whether that process is an engine of this file; a process number may be used again."""
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(self.lock_path) in arguments

    def _prepare(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            _log.warning("the engine's file cannot have a write-ahead log", extra=fields(mode=mode))

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)

    def _in_use(self) -> StartError:
        return StartError(
            f"the engine's file {self.path} is in use by another process; stop that one, "
            "or give each service a file of its own"
        )


def _holder_of(lock: int) -> int:
    """The process that keeps us from a lock; 0 where none does any more."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, *_, pid = _FLOCK.unpack(fcntl.fcntl(lock, fcntl.F_GETLK, wanted))
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

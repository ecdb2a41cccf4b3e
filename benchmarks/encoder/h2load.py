"""Load from h2load, whose cost is small and the same for every server.

It sees no grpc-status: whoever drives gRPC with it compares the server's own counters.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.target import Target
    from encoder.wires import Wire

_DONE = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")

_MOST_OPEN_CALLS = 10_000
"""Calls that one open-loop connection may have unanswered."""

_HTTP_OK = 200

_PATIENCE_SECONDS = 20.0
"""Beyond the time that a closed loop is to run, for its slowest call."""

_CALL_SECONDS = 60.0
"""Most time for one call of a caller who makes a given number of them, or of an open loop for all
that is unanswered at its end."""

_ATTEMPTS = 3


class LoadError(Exception):
    """h2load is missing, or did not do what it was told."""


class EndlessLoadError(LoadError):
    """h2load went on after its time: its HTTP/1.1 connections miss their end now and then."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one connection's worth of load was answered with, or several together."""

    answered: int
    """Answered with HTTP 200."""
    failed: int
    latencies: np.ndarray
    """Seconds of each answered call: of an open loop from when it should have begun."""
    seconds: float
    """From the first call's start to the last one's end."""
    cpu_seconds: float
    """Of h2load itself."""

    @staticmethod
    def together(loads: Sequence[Load]) -> Load:
        """Of several that ran side by side."""
        return Load(
            sum(one.answered for one in loads),
            sum(one.failed for one in loads),
            np.concatenate([one.latencies for one in loads]),
            max(one.seconds for one in loads),
            sum(one.cpu_seconds for one in loads),
        )


def require_h2load() -> str:
    """Its version. Raises LoadError, which says how to install it."""
    if shutil.which("h2load") is None:
        raise LoadError("h2load is missing: apt-get install nghttp2-client, or your system's like")
    told = subprocess.run(["h2load", "--version"], capture_output=True, check=True, text=True)
    return told.stdout.strip()


def closed_loop(
    target: Target, texts: Sequence[Sequence[str]], *, callers: int, seconds: float
) -> Load:
    """Callers that each wait for an answer before they call again, for so many seconds.

    texts: those of one call; callers are shared out among several, a connection each.
    """
    bodies = [target.wire.body(one) for one in texts[:callers]]
    shares = [len(range(at, callers, len(bodies))) for at in range(len(bodies))]
    options = [
        ["-c", str(share), "-m", "1", "-D", f"{round(seconds * 1000)}ms"] for share in shares
    ]
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(EndlessLoadError):
            return _run_side_by_side(target, target.wire, bodies, options, within=seconds)
    return _run_side_by_side(target, target.wire, bodies, options, within=seconds)


def counted(target: Target, texts: Sequence[Sequence[str]], *, calls: int) -> Load:
    """One caller for each call's texts, who makes so many calls, one after another.

    Raises LoadError where they take longer than anybody waits.
    """
    bodies = [target.wire.body(one) for one in texts]
    options = [["-c", "1", "-m", "1", "-n", str(calls)] for _ in bodies]
    within = calls * _CALL_SECONDS
    return _run_side_by_side(target, target.wire, bodies, options, within=within)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """One text's calls of an open loop."""

    wire: Wire
    texts: Sequence[str]
    offsets: np.ndarray
    """When each call begins, in seconds from the start, ascending."""


def open_loop(target: Target, arrivals: Sequence[Arrivals]) -> list[Load]:
    """Calls that begin at their time, whatever has become of those before; a Load for each.

    Raises LoadError where some are not answered long after the last began.
    """
    within = max(float(one.offsets.max(initial=0.0)) for one in arrivals) + _CALL_SECONDS
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        started = []
        for at, one in enumerate(arrivals):
            script = Path(folder) / f"{at}.script"
            url = target.base + one.wire.path
            script.write_text("".join(f"{offset * 1e3:.3f}\t{url}\n" for offset in one.offsets))
            options = [f"--timing-script-file={script}", "-c", "1", "-m", str(_MOST_OPEN_CALLS)]
            options += ["-B", target.base]
            body = one.wire.body(one.texts)
            process = _H2load(Path(folder) / str(at), target, one.wire, body, options)
            started.append(running.enter_context(process))
        return [
            process.finish(within, one.offsets)
            for process, one in zip(started, arrivals, strict=True)
        ]


def poisson(rate: float, seconds: float, random: np.random.Generator) -> np.ndarray:
    """Ascending offsets of arrivals that know nothing of each other, at least one.

    rate: of a second.
    """
    count = max(1, random.poisson(rate * seconds))
    return np.sort(random.uniform(0, seconds, count))


def _run_side_by_side(
    target: Target,
    wire: Wire,
    bodies: Sequence[bytes],
    options: Sequence[Sequence[str]],
    *,
    within: float,
) -> Load:
    """within: seconds after which each should end. Raises EndlessLoadError where one does not."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        url = target.base + wire.path
        processes = [
            running.enter_context(
                _H2load(Path(folder) / str(at), target, wire, body, [*option, url])
            )
            for at, (body, option) in enumerate(zip(bodies, options, strict=True))
        ]
        limit = within + _PATIENCE_SECONDS
        return Load.together([process.finish(limit) for process in processes])


class _H2load:
    """One process of it; killed when the block ends before it."""

    def __init__(
        self, files: Path, target: Target, wire: Wire, body: bytes, options: Sequence[str]
    ) -> None:
        self._target = target
        self._calls = files.with_suffix(".calls")
        data = files.with_suffix(".body")
        data.write_bytes(body)
        headers = [part for header in wire.headers for part in ("-H", header)]
        protocol = [] if wire.is_http2 else ["--h1"]
        self._process = subprocess.Popen(
            ["h2load", *protocol, *headers, "-d", data, f"--log-file={self._calls}", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> _H2load:
        return self

    def __exit__(self, *_raised: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def finish(self, within: float, offsets: np.ndarray | None = None) -> Load:
        """Wait for its end. within: most seconds to wait. offsets: when calls should have begun.

        Raises LoadError.
        """
        assert self._process.stdout
        limit = threading.Timer(within, self._process.kill)
        limit.daemon = True
        limit.start()
        told = self._process.stdout.read()
        _, status, usage = os.wait4(self._process.pid, 0)
        is_endless = not limit.is_alive()
        limit.cancel()
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._process.stdout.close()
        if is_endless:
            raise EndlessLoadError(
                f"h2load against {self._target.name} did not end in {within:.0f} s"
            )
        done = _DONE.search(told)
        if self._process.returncode or done is None:
            raise LoadError(f"h2load against {self._target.name}:\n{told}")
        succeeded, failed, errored, timed_out = map(int, done.groups())
        if not succeeded:
            return Load(0, max(failed, errored + timed_out), np.empty(0), 0.0, 0.0)
        return calls_noted(
            self._calls,
            failed=max(failed, errored + timed_out),
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            offsets=offsets,
        )


def calls_noted(
    calls: Path, *, failed: int, cpu_seconds: float, offsets: np.ndarray | None
) -> Load:
    """What h2load noted: start in microseconds, HTTP status, microseconds of each call."""
    noted = np.loadtxt(calls, dtype=np.int64, ndmin=2)
    starts, status, microseconds = noted[np.argsort(noted[:, 0], kind="stable")].T
    began = starts
    if offsets is not None:
        if len(offsets) != len(starts):
            raise LoadError(f"h2load noted {len(starts)} of {len(offsets)} calls")
        # the script's clock starts unseen: the call that was most nearly on time tells when
        scheduled = (offsets * 1e6).astype(np.int64)
        began = scheduled + (starts - scheduled).min()
    good = status == _HTTP_OK
    ends = starts + microseconds
    return Load(
        answered=int(good.sum()),
        failed=failed,
        latencies=(ends - began)[good] / 1e6,
        seconds=float(ends.max() - starts.min()) / 1e6,
        cpu_seconds=cpu_seconds,
    )

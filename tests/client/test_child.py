"""A child process that ends with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from searchmesh.child import ChildProcess

if TYPE_CHECKING:
    from pathlib import Path

_MODULE = """
import signal, sys, time
def stop(*_):
    print("asked to stop", flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
print("arguments", sys.argv[1:], "name", __name__, flush=True)
while True:
    time.sleep(60)
"""

_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", flush=True)
while True:
    time.sleep(60)
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Where the modules `obedient` and `stubborn` are found."""
    (tmp_path / "obedient.py").write_text(_MODULE)
    (tmp_path / "stubborn.py").write_text(_STUBBORN)
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def _until_it_says(child: ChildProcess, word: str) -> None:
    while word not in child.log_file.read_text():
        assert child.exit_code is None
        time.sleep(0.01)


def test_it_is_asked_to_stop_and_its_log_is_kept(tmp_path: Path, environ: dict[str, str]) -> None:
    child = ChildProcess("obedient", "obedient", environ, tmp_path / "logs" / "obedient.log")
    _until_it_says(child, "arguments [] name __main__")
    child.stop(grace_seconds=20)
    assert child.exit_code == 7
    assert child.last_lines(1) == ["asked to stop"]


def test_the_log_of_the_run_before_is_kept_beside(tmp_path: Path, environ: dict[str, str]) -> None:
    log = tmp_path / "obedient.log"
    for _ in range(2):
        child = ChildProcess("obedient", "obedient", environ, log)
        _until_it_says(child, "arguments")
        child.stop(grace_seconds=20)
    assert "asked to stop" in (tmp_path / "obedient.previous.log").read_text()


def test_what_does_not_stop_in_time_is_ended(tmp_path: Path, environ: dict[str, str]) -> None:
    child = ChildProcess("stubborn", "stubborn", environ, tmp_path / "stubborn.log")
    _until_it_says(child, "started")
    child.stop(grace_seconds=0.1)
    assert child.exit_code == -signal.SIGKILL


def test_it_ends_when_its_parent_is_killed(tmp_path: Path, environ: dict[str, str]) -> None:
    log = tmp_path / "obedient.log"
    parent_code = textwrap.dedent(
        f"""
        import os, time
        from pathlib import Path
        from searchmesh.child import ChildProcess
        child = ChildProcess("obedient", "obedient", os.environ, Path({str(log)!r}))
        while "arguments" not in child.log_file.read_text():
            time.sleep(0.01)
        print(child.pid, flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent_code], stdout=subprocess.PIPE, env=environ, text=True
    ) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    # no child of this process: its end is seen, its exit code is not
    assert psutil.wait_procs([child], timeout=20)[1] == []
    assert "asked to stop" in log.read_text()

"""`searchmesh up`, as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from searchmesh import Client, Health, Service
from tests.mesh import free_connection

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mesh import Mesh


def _up(*arguments: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "searchmesh.cli", "up", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )


def _answer(process: subprocess.Popen[str]) -> Any:
    """The JSON object that says that the mesh serves."""
    assert process.stdout
    lines = []
    while line := process.stdout.readline():
        lines.append(line)
        if line == "}\n":
            return json.loads("".join(lines))
    assert process.stderr
    raise AssertionError(process.stderr.read())


@pytest.mark.slow
def test_it_serves_until_ctrl_c(tmp_path: Path) -> None:
    connection = free_connection()
    process = _up(
        *("--home", str(tmp_path), "--json"),
        *("--encoder", connection.encoder, "--search", connection.search),
    )
    with process:
        answer = _answer(process)
        assert answer["started"] == ["encoder", "search"]
        with Client(connection) as client:
            assert client.health(Service.SEARCH) is Health.SERVING
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr
        assert process.stderr.read() == "stopping\n"
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert (tmp_path / "logs" / "encoder.log").exists()


def test_a_mesh_that_runs_is_named_and_left(mesh: Mesh, tmp_path: Path) -> None:
    process = _up(
        *("--home", str(tmp_path)),
        *("--encoder", mesh.connection.encoder, "--search", mesh.connection.search),
    )
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.count("was running already: used as it is, with its own home") == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_service_that_ends_ends_it_with_its_log(tmp_path: Path) -> None:
    connection = free_connection()
    process = _up(
        *("--home", str(tmp_path), "--json"),
        *("--encoder", connection.encoder, "--search", connection.search),
    )
    with process:
        _answer(process)
        (encoder,) = (
            child
            for child in psutil.Process(process.pid).children()
            if "searchmesh_encoder" in child.cmdline()
        )
        encoder.kill()
        assert process.wait(30) == 1
        assert process.stderr
        assert "the encoder service ended with signal 9" in process.stderr.read()
        assert process.stdout
        assert process.stdout.read() == ""


@pytest.mark.slow
def test_sigterm_while_it_starts(tmp_path: Path) -> None:
    connection = free_connection()
    process = _up(
        "--home", str(tmp_path), "--encoder", connection.encoder, "--search", connection.search
    )
    with process:
        log = tmp_path / "logs" / "search.log"
        while not log.exists():
            assert process.poll() is None
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
        assert process.stderr
        assert "Traceback" not in process.stderr.read()
    assert psutil.wait_procs(family, timeout=5)[1] == []

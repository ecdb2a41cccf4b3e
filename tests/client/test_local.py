"""Both services as processes of this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from searchmesh import Connection, Health, Service
from searchmesh.home_lock import HomeLock
from searchmesh.local import LocalMesh, LocalMeshError, State
from tests.mesh import free_connection

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mesh import Mesh


def test_a_mesh_that_runs_already_is_left_alone(mesh: Mesh, tmp_path: Path) -> None:
    with LocalMesh(tmp_path, mesh.connection) as second:
        second.start()
        assert not second.started
        assert set(second.states().values()) == {State.SERVING}
    assert mesh.health(Service.ENCODER) is mesh.health(Service.SEARCH) is Health.SERVING


def test_a_port_that_another_program_has_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"localhost:{other.getsockname()[1]}"
        connection = replace(free_connection(), search=taken)
        with (
            LocalMesh(tmp_path, connection) as mesh,
            pytest.raises(LocalMeshError, match=r"search service is taken by another .*--search"),
        ):
            mesh.start()
        assert not mesh.started


def test_a_home_that_another_process_has_is_not_touched(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "search.log"
    log.parent.mkdir()
    log.write_text("of the mesh that runs\n")
    hold = "import sys, pathlib; from searchmesh.home_lock import HomeLock\n"
    hold += (
        "lock = HomeLock(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with (
            LocalMesh(tmp_path, free_connection()) as mesh,
            pytest.raises(LocalMeshError, match=f"is in use by process {other.pid}.*--home"),
        ):
            mesh.start()
        other.kill()
    assert log.read_text() == "of the mesh that runs\n"
    HomeLock(tmp_path).release()


@pytest.mark.parametrize(
    "address", ["mesh.example:50051", "localhost", "localhost:65536", "10.0.0.1:50051"]
)
def test_only_this_machine_can_be_served(tmp_path: Path, address: str) -> None:
    with (
        LocalMesh(tmp_path, Connection(encoder=address)) as mesh,
        pytest.raises(LocalMeshError, match="is not on this machine"),
    ):
        mesh.states()


def test_a_service_that_cannot_start_is_told_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_MAX_MESSAGE_BYTES", "many")
    with LocalMesh(tmp_path, free_connection()) as mesh:
        mesh.start()
        with pytest.raises(LocalMeshError) as raised:
            mesh.wait_until_serving(timeout=60)
        encoder = psutil.Process(mesh.started[Service.ENCODER].pid)
    sentence = str(raised.value)
    assert "the search service ended with exit code 2" in sentence
    assert "SEARCH_MAX_MESSAGE_BYTES='many' is not a whole number" in sentence
    assert not encoder.is_running()


@pytest.mark.slow
def test_nothing_is_left_when_the_starter_is_killed(tmp_path: Path) -> None:
    connection = free_connection()
    code = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from searchmesh import Connection
        from searchmesh.local import LocalMesh
        mesh = LocalMesh(
            Path({str(tmp_path)!r}),
            Connection(encoder={connection.encoder!r}, search={connection.search!r}),
        )
        mesh.start()
        mesh.wait_until_serving(timeout=90)
        print("serving", flush=True)
        time.sleep(90)
        """
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == b"serving\n"
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) >= 3, "the encoder, the search service and its engine"
        parent.kill()
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []

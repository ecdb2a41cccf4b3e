"""What a run was measured on, as far as its figures depend on it."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from encoder.environments import pinned
from encoder.h2load import require_h2load
from encoder.peer import PEERS_BY_NAME
from searchmesh_encoder.cpus import available

if TYPE_CHECKING:
    from encoder.model import ModelFiles

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
"""Which instructions compute integer products, and how wide."""

_PACKAGES = ("onnxruntime", "tokenizers", "numpy", "grpcio", "protobuf", "uvloop")

# the package that makes each peer what it is
_SERVERS = {
    "fastapi": ("fastapi", "uvicorn"),
    "flask": ("flask", "gunicorn"),
    "mlserver": ("mlserver",),
    "bentoml": ("bentoml",),
    "mosec": ("mosec",),
}


def description(model: ModelFiles) -> dict[str, str]:
    """Hardware, versions and model, by what they are called in a report."""
    return {
        **machine(),
        "peers": ", ".join(
            f"{package} {pinned(peer.environment)[package]}"
            for peer in PEERS_BY_NAME.values()
            for package in _SERVERS[peer.environment]
        ),
        "h2load": require_h2load(),
        "model": model.name,
        "fingerprint": model.fingerprint,
        "graph sha256": model.sha256,
    }


def machine() -> dict[str, str]:
    """Hardware and versions alone."""
    cpus = available()
    flags = _cpuinfo("flags", "Features").split()
    return {
        "CPU": _cpuinfo("model name", "Processor") or platform.processor(),
        "CPU flags": " ".join(flag for flag in _FLAGS if flag in flags) or "none of interest",
        "CPUs": f"{cpus.usable}" + (f" (quota {cpus.quota:g})" if cpus.quota else ""),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "packages": ", ".join(_installed()),
        "commit": _commit(),
    }


def _installed() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def _cpuinfo(*names: str) -> str:
    """The first CPU's line of one of these names; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        told = subprocess.run(git, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()

"""Generates the protobuf stubs and lists the packages; everything else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "tools"))

from build_protos import build  # noqa: E402

# installed name -> folder, as in [tool.setuptools.package-dir]
TOP_LEVEL = {
    "searchmesh": "client",
    "searchmesh_common": "services/common",
    "searchmesh_encoder": "services/encoder",
    "searchmesh_search": "services/search",
}


def packages() -> list[str]:
    """Every package below the four top-level ones, by its installed name."""
    found = []
    for name, folder in TOP_LEVEL.items():
        for marker in sorted((ROOT / folder).rglob("__init__.py")):
            below = marker.parent.relative_to(ROOT / folder).parts
            found.append(".".join((name, *below)))
    return found


build(ROOT)
setup(packages=packages())

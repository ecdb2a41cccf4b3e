"""Milvus's messages and stub, out of the pymilvus package; the only file that touches it.

Importing pymilvus itself imports pandas and more, loads any `.env` file around it into the
environment and configures logging. None of that is wanted in a server, so the generated modules
are loaded under a name of our own, without the package around them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

_NAME = "searchmesh_search_milvus_stubs"


def _package() -> ModuleType:
    found = importlib.util.find_spec("pymilvus")
    if found is None or not found.submodule_search_locations:
        raise ImportError("pymilvus is not installed; install searchmesh[search]")
    folder = Path(found.submodule_search_locations[0]) / "grpc_gen"
    spec = importlib.util.spec_from_file_location(
        _NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"this pymilvus keeps no generated messages in {folder}")
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)
    return package


_loaded: Any = _package()

common: Any = _loaded.common_pb2
milvus: Any = _loaded.milvus_pb2
schema: Any = _loaded.schema_pb2
MilvusServiceStub: Any = _loaded.milvus_pb2_grpc.MilvusServiceStub

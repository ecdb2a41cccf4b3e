"""What each kind of Milvus can do: the truth that its tests hold the engine to."""

from __future__ import annotations

from dataclasses import replace

from searchmesh_search.engine import Capabilities, Metric, VectorKind
from searchmesh_search.lexical import ANALYZERS

_LITE = Capabilities(
    name="milvus-lite",
    version="",
    had_by="SEARCH_ENGINE empty, or a file's path",
    metrics=frozenset(Metric),
    kinds=frozenset(VectorKind),
    indexes=frozenset({"FLAT", "IVF_FLAT"}),
    binary_indexes=frozenset({"FLAT"}),
    max_limit=16_384,
    # it would take 32,768, but answers nobody for seconds at the first write of such a collection
    max_dimension=8192,
    max_filter_bytes=16 << 20,
    max_filter_depth=49,
    analyzers=frozenset(ANALYZERS),
)

_SERVER = Capabilities(
    name="milvus",
    version="",
    had_by="SEARCH_ENGINE=http://host:19530",
    metrics=frozenset(Metric),
    kinds=frozenset(VectorKind),
    indexes=frozenset({"FLAT", "IVF_FLAT", "HNSW"}),
    binary_indexes=frozenset({"FLAT", "IVF_FLAT"}),
    max_limit=16_384,
    max_dimension=32_768,
    max_filter_bytes=16 << 20,
    max_filter_depth=128,
)


def lite_capabilities(version: str) -> Capabilities:
    """Of Milvus Lite, the embedded engine."""
    return replace(_LITE, version=version, others=(_SERVER,))


def server_capabilities(version: str) -> Capabilities:
    """Of a Milvus server of 2.3 or newer."""
    return replace(_SERVER, version=version, others=(_LITE,))

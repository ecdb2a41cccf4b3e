"""The journal: what is true about collections and documents; the engine is only an index of it."""

from searchmesh_search.journal.journal import Journal

__all__ = ["Journal"]

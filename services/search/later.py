"""Methods of the contract that this version does not have."""

from __future__ import annotations

from searchmesh_common.errors import Unsupported


def later(method: str) -> Unsupported:
    """The answer to a method that comes later."""
    return Unsupported(f"{method} is part of the contract but not implemented yet")

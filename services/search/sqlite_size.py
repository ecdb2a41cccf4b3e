"""What a file of SQLite takes on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def size_bytes(path: Path) -> int:
    """Of the file and its write-ahead log; what is not there takes nothing."""
    return sum(_size(one) for one in (path, path.with_name(f"{path.name}-wal")))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

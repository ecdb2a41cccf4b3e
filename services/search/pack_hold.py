"""Keeps the content store's packs from being deleted while a backup copies them.

A lock on a file of the content store's folder, which ends with the process that holds it, however
that ends.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME = ".hold"


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """No pack is deleted while the block runs; waits for a deletion that is under way.

    Raises OSError.
    """
    with _open(folder) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


@contextmanager
def removing(folder: Path) -> Iterator[bool]:
    """Whether packs may be deleted while the block runs. Raises OSError."""
    with _open(folder) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextmanager
def _open(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
